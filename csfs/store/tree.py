"""The directory underneath, beneath one root descriptor: looking at objects, complete and consistent.

Every path is resolved by the kernel from the root, never through a symlink, never out, never across a mount. Looking opens an object by
O_PATH first, so that a device is never opened and all that is said of it is said of one inode.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

from csfs.core.changes import Extent
from csfs.core.objects import Observation, Stamp
from csfs.core.paths import ROOT, RelPath, name_of, parent_of, shown
from csfs.core.tables import BlockTable
from csfs.core.treatment import FLAGS
from csfs.errors import ForeignError, UnstableError
from csfs.store import blocks
from csfs.store.attributes import stamp_of
from csfs.store.beneath import ABSENT, open_beneath
from csfs.store.flags import NONE, flags_of
from csfs.store.observing import Before, Limits, look_at, reading
from csfs.store.observing import Look as Look
from csfs.store.owners import Owners
from csfs.store.scanning import Chunk, scan
from csfs.store.treating import Treated

_READS_MAX = 3
NO_CONTENT = Limits()


class Tree:
    """One volume's directory underneath. Does not own `root`. Safe to use from several threads.

    `treated` says how what is at a path is to be shown and read; without it, everything as usual, with `owners`.
    """

    def __init__(
        self, root: int, owners: Owners | None = None, treated: Callable[[RelPath], Treated] | None = None
    ) -> None:
        self.root = root
        usual = Treated(owners or Owners())
        self.treated: Callable[[RelPath], Treated] = treated or (lambda _: usual)

    @contextlib.contextmanager
    def open_parent(self, path: RelPath) -> Iterator[tuple[int, bytes]]:
        """Hold the directory of `path` open (O_PATH) and give (descriptor, last name).

        Raises:
            ForeignError, OSError: see `open_beneath`.
        """
        if path == ROOT:
            raise ValueError("the root has no parent beneath itself")
        descriptor = open_beneath(self.root, parent_of(path), os.O_PATH | os.O_DIRECTORY)
        try:
            yield descriptor, name_of(path)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def open_object(self, path: RelPath) -> Iterator[int]:
        """Hold the object itself by an O_PATH descriptor: it can be asked about, not read."""
        descriptor = open_beneath(self.root, path, os.O_PATH)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def open_file(self, path: RelPath) -> Iterator[int]:
        """Hold a regular file open for reading.

        Raises:
            FileNotFoundError: what is there is not a regular file.
        """
        with self.open_object(path) as handle, reading(handle) as descriptor:
            yield descriptor

    def lstat(self, path: RelPath) -> os.stat_result | None:
        """Return lstat of `path`, None if nothing is there.

        Raises:
            ForeignError: it, or a directory above it, is a mount of something else.
        """
        try:
            with self.open_object(path) as descriptor:
                return os.fstat(descriptor)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise

    def stamp(self, path: RelPath) -> Stamp | None:
        """Return the stamp of `path`, None if nothing is there."""
        status = self.lstat(path)
        return None if status is None else stamp_of(status)

    def flags(self, path: RelPath) -> bytes:
        """Return the flags of what is at `path`, if they are kept the same there; none of what cannot be looked at."""
        if not self.treated(path).carried(FLAGS):
            return NONE
        try:
            with self.open_object(path) as descriptor:
                return flags_of(descriptor)
        except (OSError, ForeignError):
            return NONE

    def scan(self, below: RelPath = ROOT) -> Iterator[Chunk]:
        """Walk everything strictly below a directory, parents before children. See `scanning.scan`."""
        return scan(self.root, below)

    def read_blocks(self, path: RelPath, first: int, count: int) -> list[bytes]:
        """Return up to `count` blocks of a regular file; the caller checks them against the hashes it promised."""
        with self.open_file(path) as descriptor:
            return blocks.read_blocks(descriptor, first, count)

    def observe(
        self, path: RelPath, previous: Observation | None = None, content_changed: bool | None = None
    ) -> Observation | None:
        """Return what is at `path` now, complete, or None for nothing. See `look`."""
        found = self.look(path, previous, content_changed)
        return None if found is None else found.observation

    def look(
        self,
        path: RelPath,
        previous: Observation | None = None,
        content_changed: bool | None = None,
        *,
        table: BlockTable | None = None,
        extents: tuple[Extent, ...] | None = None,
        limits: Limits = NO_CONTENT,
    ) -> Look | None:
        """Return what is at `path` now, complete, or None for nothing.

        A file's content is read and hashed unless the hash of `previous` can be taken: with `content_changed` None if the
        whole stamp is the same; with False if inode, size and mtime are; with True never, for stamps are racy (R23). With
        `table`, that of `previous`, and `extents`, which cover all that was written since (None: not known), only
        those blocks are read. `limits` say how much of the content is returned.

        Raises:
            UnstableError: the file changed each time it was read.
            ForeignError: it, or a directory above it, is a mount of something else.
            OSError: it is there and cannot be read.
        """
        return self.look_from(path, Before(previous, content_changed, table, extents), limits)

    def look_from(self, path: RelPath, before: Before, limits: Limits = NO_CONTENT) -> Look | None:
        """Return what is at `path` now, with all that is known from before. See `look`.

        Raises:
            LongReadError: more than `limits.read_size` would have to be read.
        """
        for _ in range(_READS_MAX):
            try:
                handle = open_beneath(self.root, path, os.O_PATH)
            except OSError as error:
                if error.errno in ABSENT:
                    return None
                raise
            try:
                found = look_at(handle, self.treated(path), before, limits)
            finally:
                os.close(handle)
            if found is not None:
                return found
        raise UnstableError(f"{shown(path)}: changed each of {_READS_MAX} times it was read")
