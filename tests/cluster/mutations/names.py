"""Names that come, go and move."""

import os
import socket
import stat
from pathlib import Path

import pytest

from csfs.store.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2
from tests.cluster.mutations.calls import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    Case,
    as_root,
    as_user,
    call,
    call_number,
    opened,
)

SYS_OPENAT2 = 437
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400


def renamed(source: str, target: str, flags: int = 0) -> Case:
    def act(d: Path) -> None:
        renameat2(AT_FDCWD, os.fsencode(d / source), AT_FDCWD, os.fsencode(d / target), flags)

    return f"renameat2 {flags} {source} to {target}", act


def renamed_at(d: Path) -> None:
    with opened(d / "full", os.O_PATH) as source, opened(d / "empty", os.O_PATH) as target:
        os.rename("file", "moved", src_dir_fd=source, dst_dir_fd=target)


def renamed_and_made_again(d: Path) -> None:
    (d / "file").rename(d / "file.old")
    (d / "file").write_bytes(b"new")
    (d / "full").rename(d / "full.old")
    (d / "full").mkdir()
    (d / "full" / "file").write_bytes(b"new")


def renamed_in_a_circle(d: Path) -> None:
    for source, target in (("file", "x"), ("other", "file"), ("x", "other"), ("full", "y"), ("empty", "full")):
        (d / source).rename(d / target)


def linked_by_descriptor(d: Path) -> None:
    with opened(d / "file", os.O_PATH) as descriptor:
        call("linkat", descriptor, b"", AT_FDCWD, d / "second", AT_EMPTY_PATH)


def linked_through_proc(d: Path) -> None:
    with opened(d / "file") as descriptor:
        call("linkat", AT_FDCWD, Path(f"/proc/self/fd/{descriptor}"), AT_FDCWD, d / "second", AT_SYMLINK_FOLLOW)


def file_without_a_name(d: Path) -> None:
    """Refused, and programs then do what comes after that."""
    with pytest.raises(OSError, match="not supported"):
        os.open(d, os.O_TMPFILE | os.O_RDWR)
    (d / "named").write_bytes(b"x")
    os.link(d / "named", d / "linked")
    (d / "named").unlink()


def unlinked_at(d: Path) -> None:
    with opened(d / "full", os.O_PATH) as directory:
        os.unlink("file", dir_fd=directory)
        os.unlink("inner/file", dir_fd=directory)
        call("unlinkat", directory, b"inner", AT_REMOVEDIR)


def made_at(d: Path) -> None:
    with opened(d / "empty", os.O_PATH) as directory:
        os.mkdir("directory", 0o751, dir_fd=directory)
        os.symlink("nowhere", "symlink", dir_fd=directory)
        os.mknod("fifo", stat.S_IFIFO | 0o604, dir_fd=directory)
        os.mknod("regular", stat.S_IFREG | 0o604, dir_fd=directory)
        os.link(d / "log", "link", dst_dir_fd=directory)


def opened_with_openat2(d: Path) -> None:
    how = (os.O_CREAT | os.O_WRONLY).to_bytes(8, "little") + (0o604).to_bytes(8, "little") + bytes(8)
    os.close(call_number(SYS_OPENAT2, AT_FDCWD, d / "made", how, len(how)))


def bound(d: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, opened(d, os.O_PATH) as directory:
        server.bind(f"/proc/self/fd/{directory}/socket")


def made_in_the_directory_that_is_worked_in(d: Path) -> None:
    before = os.getcwd()
    os.chdir(d / "full")
    try:
        (d / "full").rename(d / "moved")
        Path("made").write_bytes(b"x")
        Path("file").unlink()
        Path("../beside").mkdir()
    finally:
        os.chdir(before)


def made_with_a_mask(d: Path) -> None:
    before = os.umask(0o027)
    try:
        os.close(os.open(d / "f", os.O_CREAT | os.O_WRONLY, 0o777))
        (d / "d").mkdir(0o777)
    finally:
        os.umask(before)


def odd_names(d: Path) -> None:
    for name in (b"\xff\xfe", b"new\nline", b"a" * 255, b" ", b"-rf", "\u00e9".encode(), "e\u0301".encode()):
        (Path(os.fsdecode(os.fsencode(d) + b"/" + name))).write_bytes(name)


def deep(d: Path) -> None:
    """Deeper than a path may be long, for whoever walks there step by step."""
    directory = os.open(d, os.O_PATH)
    for _ in range(15):
        os.mkdir("d" * 240, dir_fd=directory)
        below = os.open("d" * 240, os.O_PATH, dir_fd=directory)
        os.close(directory)
        directory = below
    descriptor = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory)
    os.write(descriptor, b"deep")
    os.close(descriptor)
    os.close(directory)


CASES: list[Case] = [
    ("open O_CREAT", lambda d: os.close(os.open(d / "made", os.O_CREAT | os.O_RDONLY, 0o604))),
    ("open O_EXCL", lambda d: os.close(os.open(d / "made", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0))),
    ("creat", lambda d: os.close(call("creat", d / "made", 0o604))),
    ("openat2", opened_with_openat2),
    ("mkdir", lambda d: os.mkdir(d / "made", 0o1751)),
    ("mkdir by a user", as_user("umask 002; mkdir made; touch made/file; ln -s x made/link; mkfifo made/fifo")),
    ("mkdir in a setgid directory", as_root("chgrp 4321 empty; chmod 2775 empty; mkdir empty/d; touch empty/f")),
    ("mkdirat, symlinkat, mknodat, linkat", made_at),
    ("mknod of a file", lambda d: os.mknod(d / "made", stat.S_IFREG | 0o604)),
    ("mknod of a fifo", lambda d: os.mkfifo(d / "made", 0o604)),
    ("mknod of a device", lambda d: os.mknod(d / "made", stat.S_IFCHR | 0o604, os.makedev(1, 3))),
    ("mknod of a block device", lambda d: os.mknod(d / "made", stat.S_IFBLK | 0o600, os.makedev(7, 300))),
    ("bind", bound),
    ("umask", made_with_a_mask),
    ("symlink", lambda d: os.symlink("a" * 4000, d / "made")),
    ("link", lambda d: os.link(d / "file", d / "second")),
    ("link of a symlink", lambda d: os.link(d / "link", d / "second", follow_symlinks=False)),
    ("linkat that follows", lambda d: call("linkat", AT_FDCWD, d / "link", AT_FDCWD, d / "second", AT_SYMLINK_FOLLOW)),
    ("linkat by descriptor", linked_by_descriptor),
    ("linkat through /proc", linked_through_proc),
    ("O_TMPFILE", file_without_a_name),
    ("unlink", lambda d: (d / "file").unlink()),
    ("unlink of a symlink", lambda d: (d / "link").unlink()),
    ("unlinkat", unlinked_at),
    ("rmdir", lambda d: (d / "empty").rmdir()),
    ("rm -r", as_root("rm -r full")),
    renamed("file", "made"),
    renamed("file", "other"),
    renamed("file", "link"),
    renamed("link", "file"),
    renamed("file", "full/inner/made"),
    renamed("full", "made"),
    renamed("full", "empty"),
    renamed("full/inner", "inner"),
    renamed("fifo", "empty/fifo"),
    renamed("file", "made", RENAME_NOREPLACE),
    renamed("full", "made", RENAME_NOREPLACE),
    renamed("file", "other", RENAME_EXCHANGE),
    renamed("file", "link", RENAME_EXCHANGE),
    renamed("file", "full", RENAME_EXCHANGE),
    renamed("full/inner", "empty", RENAME_EXCHANGE),
    renamed("full/file", "file", RENAME_EXCHANGE),
    ("renameat", renamed_at),
    ("rename and make again", renamed_and_made_again),
    ("rename in a circle", renamed_in_a_circle),
    ("cwd", made_in_the_directory_that_is_worked_in),
    ("odd names", odd_names),
    ("deep", deep),
]
