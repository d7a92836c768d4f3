"""What the kernel says is mounted."""

import os

TYPE = "csfs"
_ESCAPES = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


def is_mounted(path: str) -> bool:
    """Return whether a csfs mount lies over `path`, which is absolute and real."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return any(_is_ours(line) and _mountpoint(line) == path for line in file)


def _is_ours(line: str) -> bool:
    kind, source = line.partition(" - ")[2].split(" ")[:2]
    return TYPE in (kind.removeprefix("fuse."), os.fsdecode(source))


def _mountpoint(line: str) -> str:
    text = line.split(" ")[4]
    for escape, character in _ESCAPES.items():  # the backslash comes last: what it makes is no escape
        text = text.replace(escape, character)
    return text
