"""Names beneath a volume's root: bytes, relative, without any way out."""

import re
from typing import NewType

RelPath = NewType("RelPath", bytes)
"""A path beneath a volume's root in normal form: no leading or trailing slash, no `.`, `..`, NUL or empty part.

The root itself is `ROOT`, the empty path.
"""

ROOT = RelPath(b"")
RESERVED = b".csfs"
"""The directory at a volume's root that csfs keeps for itself (stage, kept versions, identity)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NAME_SIZE_MAX = 255
PATH_SIZE_MAX = 64 * 1024


def checked(path: bytes) -> RelPath:
    """Return `path` as a `RelPath`.

    Raises:
        ValueError: it is not in normal form, too long, or lies in the reserved directory.
    """
    if not path:
        return ROOT
    if len(path) > PATH_SIZE_MAX:
        raise ValueError(f"path of {len(path)} bytes, limit {PATH_SIZE_MAX}")
    if b"\0" in path:
        raise ValueError(f"path {path!r} holds a NUL byte")
    parts = path.split(b"/")
    for part in parts:
        if part in (b"", b".", b".."):
            raise ValueError(f"path {path!r} is not in normal form")
        if len(part) > NAME_SIZE_MAX:
            raise ValueError(f"path {path!r} has a name of more than {NAME_SIZE_MAX} bytes")
    if parts[0] == RESERVED:
        raise ValueError(f"path {path!r} lies in the reserved directory")
    return RelPath(path)


def parent_of(path: RelPath) -> RelPath:
    """Return the directory that holds `path`; the root's is the root."""
    return RelPath(path.rpartition(b"/")[0])


def name_of(path: RelPath) -> bytes:
    """Return the last part of `path`; empty for the root."""
    return path.rpartition(b"/")[2]


def joined(parent: RelPath, name: bytes) -> RelPath:
    """Return the path of `name` in `parent`. `name` is one part, as a directory lists it."""
    return RelPath(parent + b"/" + name) if parent else RelPath(name)


def ancestors_of(path: RelPath) -> list[RelPath]:
    """Return the directories above `path`, the nearest first, the root last; none for the root."""
    above = []
    while path:
        path = parent_of(path)
        above.append(path)
    return above


def is_below(path: RelPath, directory: RelPath) -> bool:
    """Return whether `path` lies in `directory`, at any depth; a directory is not below itself."""
    return path != directory and (not directory or path.startswith(directory + b"/"))


def concern(one: RelPath, other: RelPath) -> bool:
    """Return whether one path is the other, above it, or below it."""
    return one == other or is_below(one, other) or is_below(other, one)


def depth_of(path: RelPath) -> int:
    """Return the number of parts; 0 for the root."""
    return path.count(b"/") + 1 if path else 0


def shown(path: bytes) -> str:
    """Return `path`, or another name that anybody may have chosen, for a person or for JSON.

    Bytes that are not UTF-8 are escaped, and control characters, which would make lines of a log or orders to a terminal.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", path.decode("utf-8", "backslashreplace"))
