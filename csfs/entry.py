"""Where the command `csfs` begins: Ctrl-C is one line from here on, also while the rest is being imported."""

import sys


def main() -> None:
    """Run `csfs.cli.main`."""
    try:
        from csfs.cli import main as command_line

        command_line.main()
    except KeyboardInterrupt:
        sys.stderr.write("csfs: interrupted\n")
        sys.exit(130)
