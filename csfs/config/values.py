"""Reads values that are text in the file and something else in the settings."""

from collections.abc import Callable

from csfs.config import durations
from csfs.config.tables import Table
from csfs.core.groups import Pattern


def duration(table: Table, key: str, default: str, besides: str = "") -> str:
    """Return a duration as it is written; `besides` is what may stand there, too."""
    text = table.string(key, default)
    if not besides or text != besides:
        try:
            durations.parsed(text)
        except ValueError as error:
            table.complain(key, f"{error}, or {besides}" if besides else str(error))
            return default
    return text


def one_of(what: str, known: tuple[str, ...]) -> Callable[[str], str]:
    """Return what takes one of these and complains of anything else."""

    def parse_one(text: str) -> str:
        if text not in known:
            raise ValueError(f"no {what} {text}; there are: {', '.join(known)}")
        return text

    return parse_one


def pattern(compile_one: Callable[[str], Pattern]) -> Callable[[str], str]:
    """Return what takes a pattern as it is written, and complains of what is none."""
    return lambda text: compile_one(text).text
