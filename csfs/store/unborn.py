"""A file that is filled before it has a name, so that a crash leaves no half of it."""

import errno
import os
from types import TracebackType

from csfs.store import syscalls
from csfs.store.attributes import link_path
from csfs.store.reserved import create, remove

BUILDING = b"building."
"""How the names of objects under construction begin, where they need one."""
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)
"""What file systems and kernels without unnamed files answer; open(2)."""


class Unborn:
    """A new empty file, mode 0600, open for reading and writing, that gets its name by `appear`, or vanishes."""

    def __init__(self, directory: int, name: bytes) -> None:
        self._directory = directory
        self._name = name
        self._building = b""
        try:
            flags = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
            self.descriptor = os.open(b".", flags, 0o600, dir_fd=directory)
        except OSError as error:
            if error.errno not in _NO_UNNAMED:
                raise
            self._building = BUILDING + name
            self.descriptor = create(directory, self._building)

    def __enter__(self) -> "Unborn":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)
        if self._building:
            remove(self._directory, self._building)

    def appear(self) -> None:
        """Give the file its name.

        Raises:
            FileExistsError: the name is taken.
        """
        if self._building:
            syscalls.renameat2(self._directory, self._building, self._directory, self._name, syscalls.RENAME_NOREPLACE)
            self._building = b""
        else:
            os.link(link_path(self.descriptor), self._name, dst_dir_fd=self._directory, follow_symlinks=True)
