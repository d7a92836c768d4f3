"""`mount.csfs`: what mount(8) runs for a line of fstab, as in `csfs:www /var/www csfs _netdev 0 0`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from csfs.cli import main as command_line
from csfs.errors import ExitCode

SOURCE = "csfs:"
VALUE_FLAGS = "tN"
"""Flags that are followed by a value; mount(8), section external helpers."""

INVOCATION, INTERNAL, INTERRUPTED, FAILURE = 1, 4, 8, 32
"""Exit codes of mount(8): the caller's mistake, a bug, an interrupt, and a mount that failed."""

EXIT_CODES = {
    ExitCode.DONE: 0,
    ExitCode.USAGE: INVOCATION,
    ExitCode.NOT_PERMITTED: INVOCATION,
    ExitCode.BUG: INTERNAL,
    130: INTERRUPTED,
}


@dataclass
class Asked:
    """What mount(8) asks for."""

    places: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    namespace: str = ""


def asked_by(given: Sequence[str]) -> Asked:
    """Return what the arguments of a helper say: SOURCE DIRECTORY [-sfnvrw] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]."""
    asked = Asked()
    pending = iter(given)
    for argument in pending:
        if argument.startswith("-") and len(argument) > 1:
            for flag, value in _flags(argument[1:], pending):
                if flag == "o":
                    asked.options.append(value)
                elif flag == "N":
                    asked.namespace = value
                asked.flags.add(flag)
        else:
            asked.places.append(argument)
    return asked


def _flags(letters: str, pending: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Give each flag of one argument, with its value, which may be the next argument."""
    for position, letter in enumerate(letters):
        if letter == "o" or letter in VALUE_FLAGS:
            yield letter, letters[position + 1 :] or next(pending, "")
            return
        yield letter, ""


def arguments_of(given: Sequence[str]) -> list[str]:
    """Return the arguments of csfs for those with which mount(8) calls its helpers.

    A source other than `csfs:VOLUME` (the directory, say) is not what the mounted volume shows as its source, so `mount -a` cannot
    see that it is mounted, and asks again and again.

    Raises:
        ValueError: they are none.
    """
    asked = asked_by(given)
    if len(asked.places) != 2:
        raise ValueError("mount(8) gives a source and a directory: mount -t csfs csfs:VOLUME DIRECTORY")
    if asked.namespace:
        raise ValueError("csfs cannot mount in another namespace (-N); enter it first: nsenter --mount=FILE mount ...")
    source, directory = asked.places
    options = [*(["ro"] if "r" in asked.flags else []), *(["rw"] if "w" in asked.flags else []), *asked.options]
    how = [name for name, flag in (("--sloppy", "s"), ("--fake", "f")) if flag in asked.flags]
    how += ["--volume", source.removeprefix(SOURCE)] if source.startswith(SOURCE) else ["--content"]
    return ["mount", "--anyway", *how, *(["-o", ",".join(options)] if options else []), "--", directory]


def main() -> None:
    """Mount as mount(8) asks, and say how it went with mount's own exit codes."""
    sys.exit(run(sys.argv[1:]))


def run(given: Sequence[str]) -> int:
    """Mount as mount(8) asks, and return one of its exit codes."""
    try:
        arguments = arguments_of(given)
    except ValueError as error:
        print(f"mount.csfs: {error}", file=sys.stderr)
        return INVOCATION
    return EXIT_CODES.get(command_line.run(arguments), FAILURE)


if __name__ == "__main__":
    main()
