"""Walking a whole tree: every object's stamp, fast, while it goes on changing.

Paths come in the order of their bytes, which is the index's: the two can be compared side by side without either being in memory.
Directories are opened beneath the root by their whole path when their turn comes, so the walk holds one descriptor
whatever the depth. What vanishes meanwhile is left out; what cannot be looked into is told, for then its absence proves nothing.
"""

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from csfs.core.objects import packed_stamp
from csfs.core.paths import RESERVED, ROOT, RelPath
from csfs.errors import ForeignError
from csfs.store.beneath import ABSENT, open_beneath

CHUNK_SIZE = 2_000

Found = tuple[RelPath, bytes]
"""An object that the walk met, and its packed stamp."""


class Skipped(msgspec.Struct, frozen=True, array_like=True):
    """A path of which, and below which, nothing may be concluded: another mount, or it cannot be read."""

    path: RelPath
    reason: str


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Part of a walk: up to `CHUNK_SIZE` objects with their packed stamps, ascending, and what was skipped on the way."""

    found: dict[RelPath, bytes]
    skipped: list[Skipped]


def scan(root: int, below: RelPath = ROOT) -> Iterator[Chunk]:
    """Yield everything strictly below a directory of the volume, by path, ascending; parents so come before children.

    The reserved directory at the root is left out. If `below` is no directory nothing is yielded.
    """
    device = os.fstat(root).st_dev
    chunk = Chunk({}, [])
    # What is still to come, the next last: a directory to open, or objects that were met and follow each other.
    pending: list[RelPath | list[Found]] = [below]
    while pending:
        item = pending.pop()
        if isinstance(item, bytes):
            pending += reversed(_listed(root, item, device, chunk.skipped))
            continue
        while item:
            missing = CHUNK_SIZE - len(chunk.found)
            chunk.found.update(item[:missing])
            item = item[missing:]
            if len(chunk.found) >= CHUNK_SIZE:
                yield chunk
                chunk = Chunk({}, [])
    if chunk.found or chunk.skipped:
        yield chunk


def _listed(root: int, directory: RelPath, device: int, skipped: list[Skipped]) -> list[RelPath | list[Found]]:
    """Return what is in a directory, in order: a directory's contents have their place behind its name and a slash."""
    try:
        descriptor = open_beneath(root, directory, os.O_RDONLY | os.O_DIRECTORY)
    except ForeignError as error:
        skipped.append(Skipped(directory, str(error)))
        return []
    except OSError as error:
        if error.errno not in ABSENT:
            skipped.append(Skipped(directory, _reason(error)))
        return []
    try:
        found, directories = _met(descriptor, directory, device, skipped)
    finally:
        os.close(descriptor)
    found.sort()
    listed: list[RelPath | list[Found]] = []
    begin = 0
    for path in sorted(path + b"/" for path in directories):
        end = bisect_left(found, (path,), begin)
        listed += [found[begin:end], RelPath(path[:-1])]
        begin = end
    listed.append(found[begin:])
    return listed


def _met(descriptor: int, directory: RelPath, device: int, skipped: list[Skipped]) -> tuple[list[Found], list[RelPath]]:
    """Return everything in a directory, and which of it are directories, in no order."""
    start = directory + b"/" if directory else b""
    found: list[Found] = []
    directories: list[RelPath] = []
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                path = RelPath(start + os.fsencode(entry.name))
                if path == RESERVED:
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    skipped.append(Skipped(path, _reason(error)))
                    continue
                if status.st_dev != device:
                    skipped.append(Skipped(path, "another file system is mounted there"))
                    continue
                stamp = packed_stamp(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                found.append((path, stamp))
                if stat.S_ISDIR(status.st_mode):
                    directories.append(path)
    except OSError as error:  # the directory cannot be listed to its end
        skipped.append(Skipped(directory, _reason(error)))
    return found, directories


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO)
