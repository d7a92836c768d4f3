"""System calls that Python does not offer, and short ways to those that it does. By name from the C library, or by number where both
are younger than it; those numbers are the same on every architecture.
"""

import contextlib
import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Case = tuple[str, Callable[[Path], object]]
"""A name, and what is done in a directory that `prepared` has filled."""

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
SIZE = 40_000
CAPABILITY = b"\x01\x00\x00\x02\x01" + bytes(15)
"""vfs_cap_data, version 2, with cap_chown permitted and effective; linux/capability.h."""

_libc = ctypes.CDLL(None, use_errno=True)


def prepared(directory: Path) -> None:
    """Fill a directory with what all cases begin with."""
    directory.mkdir()
    directory.chmod(0o777)
    (directory / "file").write_bytes(bytes(range(200)) * (SIZE // 200))
    (directory / "other").write_bytes(b"other" * 1000)
    for name in ("file", "other"):
        (directory / name).chmod(0o666)
    os.setxattr(directory / "file", "user.old", b"value")
    (directory / "program").write_bytes(b"#!/bin/true\n" * 100)
    (directory / "program").chmod(0o6777)
    os.setxattr(directory / "program", "security.capability", CAPABILITY)
    (directory / "log").write_bytes(b"line\n")
    (directory / "link").symlink_to("file")
    os.mkfifo(directory / "fifo")
    (directory / "empty").mkdir()
    (directory / "full" / "inner").mkdir(parents=True)
    (directory / "full" / "file").write_bytes(b"in full")
    (directory / "full" / "inner" / "file").write_bytes(b"in inner")


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDWR, mode: int = 0o640) -> Iterator[int]:
    """Give a descriptor."""
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library that answers -1 for a failure."""
    return _checked(getattr(_libc, name)(*(_converted(one) for one in arguments)))


def call_number(number: int, *arguments: object) -> int:
    """Make a system call by its number; the test is skipped where the kernel does not have it."""
    try:
        return _checked(_libc.syscall(ctypes.c_long(number), *(_converted(one) for one in arguments)))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        pytest.skip(f"this kernel has no system call {number}")


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _converted(argument: object) -> object:
    if isinstance(argument, int):
        return ctypes.c_long(argument)
    return os.fsencode(argument) if isinstance(argument, Path) else argument


def times(*moments: tuple[int, int]) -> ctypes.Array[ctypes.c_long]:
    """Return pairs of seconds and (nano- or microseconds) as the kernel takes them, access time first."""
    flat = [number for moment in moments for number in moment]
    return (ctypes.c_long * len(flat))(*flat)


def as_user(script: str) -> Callable[[Path], object]:
    """Return what runs a shell script in the directory as somebody who owns nothing there."""
    return lambda d: subprocess.run(
        ["sh", "-ec", script], cwd=d, user=65534, group=65534, extra_groups=[], check=True, timeout=20
    )


def as_root(script: str) -> Callable[[Path], object]:
    """Return what runs a shell script in the directory."""
    return lambda d: subprocess.run(["sh", "-ec", script], cwd=d, check=True, timeout=20)
