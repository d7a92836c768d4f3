"""`mount.csfs`: what mount(8) runs for a line of fstab, as in `/etc /etc csfs _netdev 0 0`."""

import sys
from collections.abc import Sequence

from csfs.cli.main import run

VALUE_FLAGS = ("-t", "-N")
"""Further flags that are followed by a value; mount(8), section external helpers."""


def arguments_of(given: Sequence[str]) -> list[str]:
    """Return the arguments of csfs for those with which mount(8) calls its helpers: SOURCE DIRECTORY [-sfnv] [-o ...].

    The option `home=DIR` is csfs's own: fstab has no other place for it.
    """
    places: list[str] = []
    options: list[str] = []
    pending = iter(given)
    for argument in pending:
        if argument == "-o":
            options += next(pending, "").split(",")
        elif argument in VALUE_FLAGS:
            next(pending, "")
        elif not argument.startswith("-"):
            places.append(argument)
    homes = [option.removeprefix("home=") for option in options if option.startswith("home=")]
    others = ",".join(option for option in options if not option.startswith("home="))
    return [*(["--home", homes[-1]] if homes else []), "mount", *(["-o", others] if others else []), "--", *places[1:2]]


def main() -> None:
    """Mount as mount(8) asks, and say how it went with mount's own exit codes: 0, or 32 for a failed mount."""
    sys.exit(32 if run(arguments_of(sys.argv[1:])) else 0)
