"""Overwriting a live file in place, so that it is wholly done or can be done again: a redo log says what to write.

The daemon writes the log and makes it durable; the mount carries it out in one step of its loop. The log's name says how far that
is: `redo.` prepared, `begun.` perhaps half carried out, `done.` carried out but perhaps not on the disk yet. Whoever is killed in the
middle leaves `begun.`, which the next mount process finishes before it serves anybody; after another boot what is done may have been
lost as well. A log is carried out again only if that gives the very blocks that were wanted: whatever else was written since stays.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import msgspec

from csfs.core.changes import Piece
from csfs.core.objects import Stamp
from csfs.core.paths import RelPath, shown
from csfs.store import syscalls
from csfs.store.attributes import stamp_of
from csfs.store.beneath import open_in_pieces

PREPARED, BEGUN, DONE = b"redo.", b"begun.", b"done."
LOGS = (PREPARED, BEGUN, DONE)
LOG_SIZE_MAX = 4 * 1024 * 1024
BEGUN_NS_MAX = 60_000_000_000
"""A mount process that has been at it for longer is killed (`mount/pulse`): what was written to the file even later, others wrote."""


class Written(msgspec.Struct, frozen=True, array_like=True):
    """What one version wrote: the pieces, and the size that the file had then."""

    pieces: tuple[Piece, ...]
    size: int


class Redo(msgspec.Struct, frozen=True, array_like=True):
    """What makes the new content of the old one. `blocks` are the numbers and hashes of those that differ, of `block_size` bytes."""

    path: RelPath
    boot: bytes
    expected: Stamp
    steps: tuple[Written, ...]
    mtime_ns: int
    block_size: int
    blocks: tuple[tuple[int, bytes], ...]

    @property
    def size(self) -> int:
        """The size of the new content."""
        return self.steps[-1].size


def boot_id() -> bytes:
    """Return what tells this boot of the kernel from every other one."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().strip()


def read(stage: int, name: bytes) -> Redo:
    """Return what a log says.

    Raises:
        FileNotFoundError: there is none of that name.
        OSError: EINVAL, it is not a log.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stage)
    try:
        data = os.read(descriptor, LOG_SIZE_MAX)
        return msgspec.msgpack.decode(data, type=Redo)
    except msgspec.MsgspecError as error:
        raise OSError(errno.EINVAL, f"{name!r} is not a redo log") from error
    finally:
        os.close(descriptor)


def carry_out(stage: int, name: bytes, target: int, redo: Redo) -> None:
    """Overwrite the file `target`, open for reading and writing, as the log prepared under `name` says. In one step of the mount.

    No step but the last may make the file shorter: what is cut off cannot be put back.

    Raises:
        OSError: the file holds what it held before; where even that could not be put back, it is begun, and for `finish`.
    """
    status = os.fstat(target)
    before = [
        (offset, os.pread(target, len(data), offset))
        for step in redo.steps
        for offset, data in step.pieces
        if offset < status.st_size
    ]
    syscalls.renameat2(stage, PREPARED + name, stage, BEGUN + name, syscalls.RENAME_NOREPLACE)
    try:
        _overwrite(target, redo)
    except OSError:
        # A disk that is full, where blocks are shared or were holes. A truncation does not fail, and comes last.
        _put_back(target, before, status)
        os.rename(BEGUN + name, PREPARED + name, src_dir_fd=stage, dst_dir_fd=stage)
        raise
    syscalls.renameat2(stage, BEGUN + name, stage, DONE + name, syscalls.RENAME_NOREPLACE)


def _put_back(target: int, before: list[Piece], status: os.stat_result) -> None:
    """Have a file hold what it held before.

    Raises:
        OSError: it does not.
    """
    for offset, data in before:
        # For what could not be written there is no room now either: it is a hole still.
        with contextlib.suppress(OSError):
            write_at(target, offset, data)
    os.ftruncate(target, status.st_size)
    if any(os.pread(target, len(data), offset) != data for offset, data in before):
        raise OSError(errno.EIO, "half overwritten, and not to be put back")
    syscalls.set_mtime_of(target, status.st_mtime_ns)


def is_begun(stage: int, name: bytes) -> bool:
    """Return whether a log is perhaps half carried out."""
    try:
        os.stat(BEGUN + name, dir_fd=stage, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


Opened = Callable[[RelPath], AbstractContextManager[int]]
"""Holds the file at a path open for reading and writing, also where its flags forbid that."""


def finish(root: int, stage: int, name: bytes, left: Stamp, opened: Opened | None = None) -> Stamp | None:
    """Carry out the rest of a log that was begun, unless somebody else has written to the file since it was `left` so.

    In one step of the mount. Returns what the file shows if that failed again, None if there is nothing left to do.

    Raises:
        OSError: it cannot even be looked at now.
    """
    redo = read(stage, BEGUN + name)
    with contextlib.suppress(FileNotFoundError), _held(root, redo.path, opened) as target:
        status = os.fstat(target)
        if (status.st_ino, status.st_size, status.st_mtime_ns) == (left.inode, left.size, left.mtime_ns):
            try:
                _again(target, status, redo)
            except OSError:
                os.utime(
                    BEGUN + name, dir_fd=stage, follow_symlinks=False
                )  # what was written just now was written by csfs
                return stamp_of(os.fstat(target))
    syscalls.renameat2(stage, BEGUN + name, stage, DONE + name, syscalls.RENAME_NOREPLACE)
    return None


def settle(root: int, stage: int, name: bytes) -> None:
    """Make what was carried out durable, and remove its log. For a thread of the daemon."""
    with contextlib.suppress(FileNotFoundError):
        redo = read(stage, DONE + name)
        if not _is_synced(root, redo):
            # It was renamed since, or removed: wherever it is, the log is the only other place that has what was written.
            syscalls.syncfs(root)
        os.unlink(DONE + name, dir_fd=stage)


def _is_synced(root: int, redo: Redo) -> bool:
    """Have what was written on the disk, if the file still is where it was."""
    try:
        with _opened(root, redo.path, os.O_RDONLY) as target:
            if os.fstat(target).st_ino != redo.expected.inode:
                return False
            os.fdatasync(target)
    except OSError:
        return False
    return True


def logs(stage: int) -> list[bytes]:
    """Return the names of all logs in the stage."""
    return [name for name in map(os.fsencode, os.listdir(stage)) if name.startswith(LOGS)]


def recover(
    root: int,
    stage: int,
    told: Callable[[str], None],
    boot: bytes | None = None,
    opened: Opened | None = None,
) -> None:
    """Finish what was begun, and after another boot what may have been lost. Nobody may be using the directory."""
    boot = boot_id() if boot is None else boot
    for name in logs(stage):
        state = name[: name.index(b".") + 1]
        rest = name[len(state) :]
        try:
            redo = read(stage, name)
            is_due = state == BEGUN or redo.boot != boot
            with contextlib.suppress(FileNotFoundError):  # gone: there is nothing to finish
                latest_ns = os.stat(name, dir_fd=stage).st_ctime_ns + BEGUN_NS_MAX
                times = () if state == BEGUN else (redo.mtime_ns, redo.expected.mtime_ns)
                if is_due and _carried_out_again(root, redo, opened, times, latest_ns if state == BEGUN else None):
                    told(f"{shown(redo.path)}: overwritten in place, and finished after a crash")
            if state != DONE:
                os.rename(name, DONE + rest, src_dir_fd=stage, dst_dir_fd=stage)
        except OSError as error:
            told(f"redo log {name!r} not carried out: {error}")


def _carried_out_again(
    root: int, redo: Redo, opened: Opened | None, times: tuple[int, ...] = (), latest_ns: int | None = None
) -> bool:
    """Carry out a log if the file would have then the very blocks that were wanted; return whether it did.

    Whoever has written since gave it another time of change than those of `times`, if there are any, or one after `latest_ns`.
    """
    with _held(root, redo.path, opened) as target:
        status = os.fstat(target)
        if status.st_ino != redo.expected.inode:
            return False
        if times and status.st_mtime_ns not in times:
            return False
        if latest_ns is not None and latest_ns < status.st_mtime_ns != redo.mtime_ns:
            return False
        return _again(target, status, redo)


def _again(target: int, status: os.stat_result, redo: Redo) -> bool:
    """Carry out a log on the file `target` if it would have then the very blocks that were wanted; return whether it did."""
    from csfs.store.hashing import block_hash  # not in a mount that has nothing to recover

    found = Image(redo.block_size, status.st_size, lambda number: _block(target, redo.block_size, number))
    for step in redo.steps:
        found.apply(step)
    if any(block_hash(found.block(number)) != digest for number, digest in redo.blocks):
        return False
    _overwrite(target, redo)
    return True


def _held(root: int, path: RelPath, opened: Opened | None) -> AbstractContextManager[int]:
    return opened(path) if opened is not None else _opened(root, path, os.O_RDWR)


def _block(descriptor: int, block_size: int, number: int) -> bytes:
    return os.pread(descriptor, block_size, number * block_size)


@contextlib.contextmanager
def _opened(root: int, path: RelPath, flags: int) -> Iterator[int]:
    # Never waiting: by now anything may be there.
    handle = open_in_pieces(root, path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield handle
    finally:
        os.close(handle)


def _overwrite(target: int, redo: Redo) -> None:
    for step in redo.steps:
        for offset, data in step.pieces:
            write_at(target, offset, data)
        if os.fstat(target).st_size != step.size:
            os.ftruncate(target, step.size)
    syscalls.set_mtime_of(target, redo.mtime_ns)


def write_at(descriptor: int, offset: int, data: bytes) -> None:
    """Write all of `data` at its place."""
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)


class Image:
    """Some blocks of a content of `size` bytes in memory, read by `read` when they are first wanted, and overwritten there."""

    def __init__(self, block_size: int, size: int, read: Callable[[int], bytes]) -> None:
        self._block_size = block_size
        self._old_size = size
        self._size = size
        self._least = size
        self._read = read
        self._blocks: dict[int, bytearray] = {}

    def _taken(self, number: int) -> bytearray:
        block = self._blocks.get(number)
        if block is None:
            start = number * self._block_size
            old = self._read(number) if start < self._old_size else b""
            # What was cut off in between is zeros if the content has grown again.
            block = self._blocks[number] = bytearray(old[: max(0, self._least - start)])
        return block

    def block(self, number: int) -> bytes:
        """Return a block as it is now."""
        length = max(0, min(self._block_size, self._size - number * self._block_size))
        return bytes(self._taken(number)[:length].ljust(length, b"\0"))

    def apply(self, step: Written) -> None:
        """Overwrite what one version wrote."""
        for offset, data in step.pieces:
            self._size = max(self._size, offset + len(data))
            while data:
                number, at = divmod(offset, self._block_size)
                part = data[: self._block_size - at]
                block = self._taken(number)
                if len(block) < at:
                    block.extend(bytes(at - len(block)))
                block[at : at + len(part)] = part
                offset, data = offset + len(part), data[len(part) :]
        self._size = step.size
        self._least = min(self._least, step.size)
        for number, block in self._blocks.items():
            del block[max(0, step.size - number * self._block_size) :]
