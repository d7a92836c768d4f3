"""`csfs diff`: what differs between two versions of a path."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import click

from csfs.cli import arguments, completing, contents, output
from csfs.config.home import Home
from csfs.errors import ExitCode

TEXT_SIZE_MAX = 16 * 1024 * 1024
"""A larger file is compared by its hash alone."""
LIVE = "live"
_COMPARED = ("kind", "size", "hash", "target", "mode", "owner", "group", "acl")


@click.command("diff")
@click.argument("path", type=click.Path())
@click.argument("old", metavar="[VERSION]", required=False, default="newest", shell_complete=completing.versions)
@click.argument("new", metavar="[VERSION]", required=False, default=LIVE, shell_complete=completing.versions)
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def command(home: Home, path: str, old: str, new: str, machine: bool) -> int:
    """Compare a kept version of PATH, the newest if none is named, with the live one or with another. Exit code 1: they differ."""
    place = arguments.place_of(path)
    before, after = contents.described(home, place, old), contents.described(home, place, new)
    lines = list(_lines(home, place, before, after))
    differs = any(before[field] != after[field] for field in _COMPARED)
    if machine:
        sides = [
            {key: value for key, value in side.items() if key not in ("data", "xattrs")} for side in (before, after)
        ]
        output.as_json({"old": sides[0], "new": sides[1], "differs": differs, "diff": lines})
    else:
        for line in lines:
            click.echo(line)
    return ExitCode.FOUND if differs else ExitCode.DONE


def _lines(home: Home, place: bytes, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for field in ("kind", "target", "mode", "owner", "group", "acl"):
        if before[field] != after[field] and "absent" not in (before["kind"], after["kind"]):
            yield f"{field}: {before[field] or 'none'} -> {after[field] or 'none'}"
    if before["hash"] == after["hash"]:
        return
    old, new = _text(home, place, before), _text(home, place, after)
    if old is None or new is None:
        yield f"{_named(before)}: {_summary(before)}"
        yield f"{_named(after)}: {_summary(after)}"
        return
    yield from _unified(old, new, before, after)


def _unified(old: list[str], new: list[str], before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    times = output.moment(before["mtime_ns"]), output.moment(after["mtime_ns"])
    found = difflib.unified_diff(old, new, _named(before), _named(after), times[0], times[1], lineterm="")
    for number, line in enumerate(found):
        yield line.removesuffix("\n")
        if number > 1 and not line.endswith("\n") and not line.startswith("@@"):
            yield "\\ No newline at end of file"


def _text(home: Home, place: bytes, side: dict[str, Any]) -> list[str] | None:
    """Return the lines of a version, None if it is no text, or too much of it; nothing has no lines."""
    if side["kind"] == "absent" or side["size"] == 0:
        return []
    if side["kind"] != "file" or side["size"] > TEXT_SIZE_MAX:
        return None
    data = b"".join(contents.pieces(home, place, side["version"], side))
    if b"\0" in data:
        return None
    # Not splitlines(): it also breaks at form feeds and the like.
    return re.findall(r"[^\n]*\n|[^\n]+", data.decode("utf-8", "backslashreplace"))


def _named(side: dict[str, Any]) -> str:
    return f"{side['path']}@{side['version']}"


def _summary(side: dict[str, Any]) -> str:
    if side["kind"] != "file":
        return "nothing" if side["kind"] == "absent" else str(side["kind"])
    return f"{side['size']} bytes, {side['hash']}"
