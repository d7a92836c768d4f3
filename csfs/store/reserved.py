"""The reserved directory at a volume's root: the stage, partial contents, kept versions, and the volume's identity.

It is root's alone, mode 0700. Names in it are flat. Its directories are held open by whoever holds a `Reserved`.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from csfs.core.paths import RESERVED, RelPath
from csfs.errors import ConfigError
from csfs.store.beneath import open_beneath
from csfs.store.observing import reading

IDENTITY = b"identity"
_INHERITED = ("system.posix_acl_default", "system.posix_acl_access")


class Reserved:
    """The reserved directory of one volume, made if need be. `stage`, `partial` and `kept` are its open descriptors.

    Raises:
        ConfigError: something else, or somebody else's, has its name.
        ForeignError: something is mounted over it.
    """

    def __init__(self, root: int) -> None:
        self._open: list[int] = []
        try:
            self.directory = self._prepared(root, RESERVED)
            self.stage = self._prepared(self.directory, b"stage")
            self.partial = self._prepared(self.directory, b"partial")
            self.kept = self._prepared(self.directory, b"kept")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the descriptors."""
        while self._open:
            os.close(self._open.pop())

    def identity(self) -> bytes | None:
        """Return the volume's identity, None if it has none yet."""
        try:
            with opened(self.directory, IDENTITY) as descriptor:
                return os.read(descriptor, 4096)
        except FileNotFoundError:
            return None

    def write_identity(self, identity: bytes) -> None:
        """Give the volume its identity, durable on return."""
        new = IDENTITY + b".new"
        remove(self.directory, new)
        descriptor = create(self.directory, new)
        try:
            write_all(descriptor, identity)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(new, IDENTITY, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        os.fsync(self.directory)  # the file alone does not make its new name durable

    def _prepared(self, parent: int, name: bytes) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        try:
            descriptor = open_beneath(parent, RelPath(name), os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise ConfigError(f"{name.decode()} at the volume's root is no directory; move it away") from error
            raise
        self._open.append(descriptor)
        if os.fstat(descriptor).st_uid != os.geteuid():
            # Somebody else may have planted files in it, or hold them open.
            raise ConfigError(f"{name.decode()} at the volume's root is not root's; move it away")
        for inherited in _INHERITED:
            _drop_xattr(descriptor, inherited)
        os.fchmod(descriptor, 0o700)
        return descriptor


def checked_name(name: bytes) -> bytes:
    """Return `name` if it is one flat name.

    Raises:
        ValueError: it has a slash or a NUL byte, or names no entry.
    """
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise ValueError(f"{name!r} is not a flat name")
    return name


@contextlib.contextmanager
def opened(directory: int, name: bytes) -> Iterator[int]:
    """Hold the regular file `name` in a reserved directory open for reading.

    Raises:
        FileNotFoundError: what is there is not a regular file, or nothing.
    """
    handle = open_beneath(directory, RelPath(checked_name(name)), os.O_PATH)
    try:
        with reading(handle) as descriptor:
            yield descriptor
    finally:
        os.close(handle)


def create(directory: int, name: bytes) -> int:
    """Make an empty file, mode 0600, and return its descriptor for reading and writing; the name must be free."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(checked_name(name), flags, 0o600, dir_fd=directory)


def remove(directory: int, name: bytes) -> None:
    """Remove whatever has that name; an empty directory too. Nothing there is no error."""
    try:
        os.unlink(checked_name(name), dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        os.rmdir(name, dir_fd=directory)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`: a file takes less at once only when the disk is about to be full."""
    written = os.write(descriptor, data) if data else 0
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def _drop_xattr(descriptor: int, name: str) -> None:
    try:
        os.removexattr(descriptor, name)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
