"""What is mounted where, as /proc/self/mountinfo tells; reading it asks no file system anything, so it cannot hang."""

import os
from typing import NamedTuple

TYPE = "fuse.csfs"
MOUNTINFO = "/proc/self/mountinfo"


class MountPoint(NamedTuple):
    """One mount; `device` is `major:minor`, `root` what of the file system it shows, `parent` the mount it lies on."""

    id: int
    device: str
    path: str
    type: str
    source: str
    parent: int = 0
    root: str = "/"
    options: str = ""
    """Those of this place."""
    lasting: str = ""
    """Those of the whole file system."""


def _unescaped(text: bytes) -> str:
    """Undo the octal escapes of mountinfo (space, tab, newline, backslash)."""
    for escaped, plain in ((rb"\040", b" "), (rb"\011", b"\t"), (rb"\012", b"\n"), (rb"\134", b"\\")):
        text = text.replace(escaped, plain)
    return text.decode("utf-8", "surrogateescape")


def parsed(text: bytes) -> list[MountPoint]:
    """Return the mounts of a mountinfo file, in the order in which they were made at each place."""
    mounts = []
    for line in filter(
        None, text.split(b"\n")
    ):  # a name may hold a carriage return, which splitlines() takes for an end
        fields, _, rest = line.partition(b" - ")
        left, right = fields.split(b" "), rest.split(b" ")
        mounts.append(
            MountPoint(
                id=int(left[0]),
                device=left[2].decode(),
                path=_unescaped(left[4]),
                type=right[0].decode(),
                source=_unescaped(right[1]),
                parent=int(left[1]),
                root=_unescaped(left[3]),
                options=_unescaped(left[5]),
                lasting=_unescaped(right[2]) if len(right) > 2 else "",
            )
        )
    return mounts


def current() -> list[MountPoint]:
    """Return what is mounted now, in this process's namespace."""
    with open(MOUNTINFO, "rb") as file:
        return parsed(file.read())


def top_at(mounts: list[MountPoint], path: str) -> MountPoint | None:
    """Return the mount that a lookup of `path` reaches, if something is mounted right there."""
    return next((mount for mount in reversed(mounts) if mount.path == path), None)


def is_below(path: str, directory: str) -> bool:
    """Return whether `path` is `directory` or lies in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def real_path(path: str) -> str:
    """Return where `path` leads, links followed, without asking what is mounted right there: it may hang."""
    directory, name = os.path.split(os.path.abspath(path))
    found = os.path.join(os.path.realpath(directory), name)
    return found if top_at(current(), found) is not None else os.path.realpath(found)
