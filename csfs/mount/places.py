"""Where a commit acts: a name underneath, and what is there."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence

from csfs.core.objects import Stamp
from csfs.core.paths import RelPath, name_of, parent_of
from csfs.mount.stamps import Stamps
from csfs.store import attributes
from csfs.store.beneath import open_in_pieces
from csfs.wire import control
from csfs.wire.control import Commit, CommitResult, Outcome


class GoneError(FileNotFoundError):
    """The directory of a path is not there any more: what was decided for the path is to be decided anew."""


class Place:
    """A name underneath: a descriptor of the directory, and lstat of what is there, None for nothing."""

    __slots__ = ("directory", "name", "path", "status")

    def __init__(self, directory: int, path: RelPath) -> None:
        """`directory` is a descriptor of the parent of `path`, and stays the caller's."""
        self.path = path
        self.name = name_of(path) or b"."
        self.directory = directory
        self.status = self.now()

    def now(self) -> os.stat_result | None:
        """Return lstat of what is there now."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def stamp(self) -> Stamp | None:
        """Return the stamp that the name shows now."""
        status = self.now()
        return attributes.stamp_of(status) if status is not None else None

    def shows(self, expected: Stamp | None, stamps: Stamps) -> bool:
        """Return whether what was there when the place was opened is what the daemon expects."""
        if self.status is None or expected is None:
            return self.status is None and expected is None
        if stat.S_ISDIR(self.status.st_mode):
            return self.status.st_ino == expected.inode
        return stamps.is_same(attributes.stamp_of(self.status), expected)


class Places:
    """Gives places during one step of the loop, or a part of it, in which nobody else moves directories; each is opened once.

    It is entered again inside of itself; what was opened is closed when it is left for good.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: dict[RelPath, int] = {}
        self._entered = 0

    def __enter__(self) -> "Places":
        self._entered += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._entered -= 1
        if not self._entered:
            self.forget()

    def forget(self) -> None:
        """Open all anew: a directory has gone, or is called something else."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def at(self, path: RelPath) -> Place:
        """Return the place of a path.

        Raises:
            GoneError: its directory is gone.
        """
        assert self._entered, "places are good for one step"
        parent = parent_of(path)
        directory = self._open.get(parent)
        if directory is None:
            try:
                directory = open_in_pieces(self._root, parent, os.O_PATH | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise GoneError(errno.ENOENT, "its directory is gone") from error
            self._open[parent] = directory
        return Place(directory, path)

    def staged(self, name: bytes) -> Place:
        """Return the place of a name in the stage."""
        return self.at(RelPath(control.STAGE + b"/" + name))


def inode_of(place: Place) -> int:
    """Return the number of what is there if it has other names, 0 if not: rows may name it by those."""
    status = place.status
    return status.st_ino if status is not None and status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode) else 0


def is_same_content(found: Stamp, expected: Stamp) -> bool:
    """Return whether an object is the one expected, with the same bytes, whatever else was done to it."""
    return (found.inode, found.size, found.mtime_ns) == (expected.inode, expected.size, expected.mtime_ns)


def check_flat(name: bytes) -> None:
    """Refuse a name that leads elsewhere. The daemon is trusted; what it derived from a peer's word is not."""
    if not name or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise ValueError(f"{name!r} is not a plain name")


@contextlib.contextmanager
def following(place: Place, stamps: Stamps) -> Iterator[None]:
    """Take note of how a commit moves the stamp of what it takes a name from, or gives attributes, while that has other names."""
    status = place.status
    if status is None or not inode_of(place):
        yield
        return
    descriptor = os.open(place.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=place.directory)
    try:
        yield
        stamps.note(attributes.stamp_of(status), attributes.stamp_of(os.fstat(descriptor)))
    finally:
        os.close(descriptor)


def done(commit: Commit, place: Place, left_out: Sequence[tuple[bytes, int]] = ()) -> CommitResult:
    """Return that a commit is done, and what the place shows now."""
    status = place.now()
    if status is None:
        return CommitResult(commit.id, Outcome.DONE)
    stamp, links = attributes.stamp_of(status), status.st_nlink
    return CommitResult(commit.id, Outcome.DONE, stamp, links=links, left_out=tuple(left_out))


def failure(commit: Commit, error: OSError) -> CommitResult:
    """Return what became of a commit that the directory underneath refused."""
    if isinstance(error, GoneError):
        return CommitResult(commit.id, Outcome.REFUSED, error=errno.ENOENT, reason=str(error))
    return CommitResult(commit.id, Outcome.FAILED, error=error.errno or errno.EIO, reason=str(error))
