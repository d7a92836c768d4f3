"""Walking a whole tree: every object's stamp, fast, while it goes on changing.

Directories are opened beneath the root by their whole path when their turn comes, so the walk holds one descriptor
whatever the depth. What vanishes meanwhile is left out; what cannot be looked into is told, for then its absence proves nothing.
"""

import errno
import os
from collections.abc import Iterator

import msgspec

from csfs.core.objects import Kind, Stamp
from csfs.core.paths import RESERVED, ROOT, RelPath, joined
from csfs.errors import ForeignError
from csfs.store.attributes import kind_of, stamp_of
from csfs.store.beneath import ABSENT, open_beneath

CHUNK_SIZE = 1000


class Found(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An object that the walk met."""

    path: RelPath
    kind: Kind
    stamp: Stamp


class Skipped(msgspec.Struct, frozen=True, array_like=True):
    """A path of which, and below which, nothing may be concluded: another mount, or it cannot be read."""

    path: RelPath
    reason: str


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Part of a walk: up to `CHUNK_SIZE` objects, and what was skipped."""

    found: list[Found]
    skipped: list[Skipped]


def scan(root: int, below: RelPath = ROOT) -> Iterator[Chunk]:
    """Yield everything strictly below a directory of the volume, parents before children, else in no order.

    The reserved directory at the root is left out. If `below` is no directory nothing is yielded.
    """
    device = os.fstat(root).st_dev
    chunk = Chunk([], [])
    pending = [below]
    while pending:
        for item in _listed(root, pending.pop(), device):
            if isinstance(item, Skipped):
                chunk.skipped.append(item)
                continue
            chunk.found.append(item)
            if item.kind is Kind.DIRECTORY:
                pending.append(item.path)
            if len(chunk.found) >= CHUNK_SIZE:
                yield chunk
                chunk = Chunk([], [])
    if chunk.found or chunk.skipped:
        yield chunk


def _listed(root: int, directory: RelPath, device: int) -> Iterator[Found | Skipped]:
    try:
        descriptor = open_beneath(root, directory, os.O_RDONLY | os.O_DIRECTORY)
    except ForeignError as error:
        yield Skipped(directory, str(error))
        return
    except OSError as error:
        if error.errno not in ABSENT:
            yield Skipped(directory, _reason(error))
        return
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                yield from _met(entry, directory, device)
    except OSError as error:  # the directory cannot be listed to its end
        yield Skipped(directory, _reason(error))
    finally:
        os.close(descriptor)


def _met(entry: os.DirEntry[str], directory: RelPath, device: int) -> tuple[Found | Skipped, ...]:
    """Return what one entry of a directory is: nothing if it vanished or is the reserved directory."""
    name = os.fsencode(entry.name)
    if name == RESERVED and directory == ROOT:
        return ()
    path = joined(directory, name)
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (Skipped(path, _reason(error)),)
    if status.st_dev != device:
        return (Skipped(path, "another file system is mounted there"),)
    return (Found(path, kind_of(status.st_mode), stamp_of(status)),)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or errno.EIO)
