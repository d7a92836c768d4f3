"""Finds the command, and is the one place where errors become lines and exit codes. What is run begins in `csfs.entry`."""

import importlib
import io
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import click
from click.shell_completion import shell_complete

import csfs
from csfs.cli.groups import Group
from csfs.config import home
from csfs.config.home import Home
from csfs.errors import CsfsError, ExitCode

COMMANDS = {
    "init": "csfs.cli.init",
    "volume": "csfs.cli.volume",
    "invite": "csfs.cli.invite",
    "join": "csfs.cli.join",
    "member": "csfs.cli.member",
    "mount": "csfs.cli.mount",
    "umount": "csfs.cli.umount",
    "daemon": "csfs.cli.daemon",
    "status": "csfs.cli.status",
    "wait": "csfs.cli.wait",
    "conflicts": "csfs.cli.conflicts",
    "resolve": "csfs.cli.resolve",
    "approve": "csfs.cli.approve",
    "history": "csfs.cli.history",
    "log": "csfs.cli.log",
    "diff": "csfs.cli.diff",
    "restore": "csfs.cli.restore",
    "compare": "csfs.cli.compare",
    "verify": "csfs.cli.verify",
    "config": "csfs.cli.config",
    "relay": "csfs.cli.relay",
}
DEBUG = "CSFS_DEBUG"
COMPLETE = "_CSFS_COMPLETE"


class Commands(Group):
    """Commands by name, each imported when it is asked for: `csfs mount` has no use for tables and certificates."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Commands)
@click.option("--home", "directory", metavar="DIR", envvar=home.VARIABLE, help="Keep everything below DIR.")
@click.version_option(csfs.__version__, prog_name="csfs", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, directory: str | None) -> None:
    """Keep directories the same on several hosts."""
    context.obj = home.chosen(directory)


def main() -> None:
    """Run the command that the process was started with, or answer the shell that completes one."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names are bytes, and a terminal need not know each letter
    if instruction := os.environ.get(COMPLETE):
        sys.exit(shell_complete(cli, {}, "csfs", COMPLETE, instruction))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what went wrong is one line on standard error."""
    try:
        # Not cli.main(), which has exit codes and words of its own for a broken pipe.
        with cli.make_context("csfs", list(arguments) or ["--help"]) as context:
            result = cli.invoke(context)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough. The interpreter would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:
        return reported(error, arguments)
    return result if isinstance(result, int) else ExitCode.DONE


def reported(error: BaseException, arguments: Sequence[str]) -> int:
    """Say what went wrong in one line, and return the exit code for it."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    error = _told(error)
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return _said("interrupted", 130)  # 128 + SIGINT, as shells count
        case click.UsageError():
            return _said(_usage(error), ExitCode.USAGE)
        case CsfsError() if error.exit_code != ExitCode.BUG:
            return _said(str(error), error.exit_code)
        case PermissionError():
            return _said(f"{error.filename or 'this'}: not permitted; run csfs as root", ExitCode.NOT_PERMITTED)
        case OSError():
            return _said(f"{error.filename}: {error.strerror}" if error.filename else str(error), ExitCode.REFUSED)
    where = _kept(error, arguments)
    return _said(f"bug: {type(error).__name__}: {error}; please report it with {where}", ExitCode.BUG)


def _told(error: BaseException) -> BaseException:
    """Return what a nursery's group of errors is about: an interrupt, or the first that says who must act."""
    while isinstance(error, BaseExceptionGroup):
        error = (error.subgroup(KeyboardInterrupt) or error.subgroup(CsfsError) or error).exceptions[0]
    return error


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "csfs"
    message = error.format_message().rstrip(".")
    if "\n" in message:  # a group of commands without one: click's message is its whole help
        message = "a command is missing"
    # click's words for a type with limits are not a person's
    message = message.replace("a valid float range", "a number").replace("a valid integer range", "a whole number")
    return f"{message[:1].lower()}{message[1:]}; see {path} --help"


def _said(line: str, exit_code: int) -> int:
    click.echo(f"csfs: {line}", err=True)
    return exit_code


def _kept(error: BaseException, arguments: Sequence[str]) -> Path:
    """Write the traceback to a file, in this host's home where there is one, and return its place."""
    text = "".join(traceback.format_exception(error))
    heading = f"{time.strftime('%Y-%m-%d %H:%M:%S')} csfs {csfs.__version__} {' '.join(_public(arguments))}\n"
    try:
        place = _home_of(arguments).crash_log
        with place.open("a") as file:
            file.write(heading + text)
    except (OSError, CsfsError):
        with tempfile.NamedTemporaryFile("w", prefix="csfs-", suffix=".log", delete=False) as file:
            file.write(heading + text)
            place = Path(file.name)
    return place


def _public(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without the token of `csfs join ADDRESS TOKEN`, which is a secret."""
    return ["..." if len(argument) > 80 and argument.isalnum() else argument for argument in arguments]


def _home_of(arguments: Sequence[str]) -> Home:
    given = dict(pairwise(arguments)).get("--home")
    return home.chosen(given)


if __name__ == "__main__":
    main()
