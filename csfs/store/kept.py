"""The kept versions: objects that are no longer live, under flat names that the index gives them."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from csfs.core.objects import Kind, Stamp
from csfs.store import syscalls
from csfs.store.attributes import kind_of, stamp_of
from csfs.store.blocks import read_blocks
from csfs.store.reserved import checked_name, opened, remove


class KeptEntry(msgspec.Struct, frozen=True):
    """One kept object, as it lies on disk. `links` above one: it is live somewhere under another name."""

    name: bytes
    kind: Kind
    stamp: Stamp
    links: int


class Kept:
    """The kept versions of one volume."""

    def __init__(self, directory: int) -> None:
        self.directory = directory

    def entries(self) -> Iterator[KeptEntry]:
        """Yield all kept objects, in no order."""
        with os.scandir(self.directory) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield KeptEntry(os.fsencode(entry.name), kind_of(status.st_mode), stamp_of(status), status.st_nlink)

    @contextlib.contextmanager
    def open_file(self, name: bytes) -> Iterator[int]:
        """Hold a kept regular file open for reading.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        with opened(self.directory, name) as descriptor:
            yield descriptor

    def has(self, name: bytes) -> bool:
        """Return whether there is an object of that name."""
        return self.size(name) is not None

    def size(self, name: bytes) -> int | None:
        """Return the size of an object, None if there is none of that name."""
        try:
            return os.lstat(checked_name(name), dir_fd=self.directory).st_size
        except FileNotFoundError:
            return None

    def read_blocks(self, name: bytes, first: int, count: int) -> list[bytes]:
        """Return up to `count` blocks of a kept regular file."""
        with self.open_file(name) as descriptor:
            return read_blocks(descriptor, first, count)

    def read_link(self, name: bytes) -> bytes:
        """Return the target of a kept symlink."""
        return os.readlink(checked_name(name), dir_fd=self.directory)

    def take_displaced(self, stage: int, wanted: Mapping[bytes, Stamp]) -> dict[bytes, bytes]:
        """Take over what commits displaced and left in the stage.

        `wanted`: by its name here, what each looked like when it was live; a rename leaves all of that but the ctime. Returns the names
        that were given up in the stage, by those that took their place.
        """
        names = {(was.inode, was.size, was.mtime_ns): name for name, was in wanted.items()}
        taken = {}
        for staged in map(os.fsencode, os.listdir(stage) if names else ()):
            # What cannot be moved stays: like whatever else was left there, it is tried again later.
            with contextlib.suppress(OSError):
                status = os.lstat(staged, dir_fd=stage)
                name = names.get((status.st_ino, status.st_size, status.st_mtime_ns))
                # What has other names lives on, and is written to there: it was copied.
                if name is not None and status.st_nlink == 1:
                    syscalls.renameat2(stage, staged, self.directory, name, syscalls.RENAME_NOREPLACE)
                    taken[name] = staged
        return taken

    def delete_closed(self, names: Iterable[bytes]) -> list[bytes]:
        """Remove kept objects but for those that somebody has open for writing; return the names that are gone."""
        closed = [name for name in names if not self._is_open_for_writing(name)]
        self.delete_all(closed)
        return closed

    def delete_doubled(self, later: Mapping[bytes, bytes]) -> list[bytes]:
        """Remove objects whose content a later one has, too, and return their names; `later`: its name, by theirs.

        One stays if the later one is not there, or is open for writing: it may soon be something else.
        """
        return self.delete_closed(
            name for name, stays in later.items() if self.has(stays) and not self._is_open_for_writing(stays)
        )

    def _is_open_for_writing(self, name: bytes) -> bool:
        """Return whether somebody has a kept object open for writing; False where the file system cannot tell."""
        try:
            with self.open_file(name) as descriptor:
                # The kernel grants this lease if nobody has. Whoever opens it meanwhile has it broken: by a signal that nobody minds.
                fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def delete(self, name: bytes) -> None:
        """Remove a kept object; one that is gone is no error."""
        remove(self.directory, name)

    def delete_all(self, names: Iterable[bytes]) -> None:
        """Remove kept objects; those that are gone are no error."""
        for name in names:
            self.delete(name)
