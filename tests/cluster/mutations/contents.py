"""Changes of contents."""

import ctypes
import fcntl
import mmap
import os
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.cluster.mutations.calls import SIZE, Case, as_user, call, opened

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10
RWF_APPEND, RWF_DSYNC = 0x10, 0x02
FS_IOC_UNRESVSP = 0x4030582B
"""Punches a hole; linux/falloc.h. The kernel makes it an fallocate for every file system."""


def written(d: Path) -> None:
    with opened(d / "file", os.O_WRONLY) as descriptor:
        os.lseek(descriptor, 100, os.SEEK_SET)
        os.write(descriptor, b"written")


def written_past_the_end(d: Path) -> None:
    with opened(d / "file", os.O_WRONLY) as descriptor:
        os.pwrite(descriptor, b"far", SIZE + 100_000)


def written_with(*vectors: bytes, flags: int = 0) -> "Case":
    def act(d: Path) -> None:
        with opened(d / "file") as descriptor:
            os.pwritev(descriptor, list(vectors), 777, flags)

    return f"pwritev2 with {flags:#x}", act


def written_in_vectors(d: Path) -> None:
    with opened(d / "file") as descriptor:
        os.writev(descriptor, [b"one", b"two", b"three" * 3000])


def appended(d: Path) -> None:
    with opened(d / "log", os.O_WRONLY | os.O_APPEND) as one, opened(d / "log", os.O_WRONLY | os.O_APPEND) as two:
        for number in range(20):
            os.write(one, b"one %d\n" % number)
            os.write(two, b"two %d\n" % number)


def appended_by_processes(d: Path) -> None:
    line = [sys.executable, "-c", "import os, sys\nfor _ in range(50): os.write(1, sys.argv[1].encode())"]
    texts = [f"{number} {'x' * 90}\n" for number in range(4)]
    writers = []
    for text in texts:
        with open(d / "log", "ab") as log:
            writers.append(subprocess.Popen([*line, text], stdout=log))
    assert [one.wait(20) for one in writers] == [0] * 4
    assert Counter((d / "log").read_text().splitlines(keepends=True)) == Counter(
        {"line\n": 1} | dict.fromkeys(texts, 50)
    )


def append_taken_away(d: Path) -> None:
    with opened(d / "log", os.O_WRONLY | os.O_APPEND) as descriptor:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, 0)
        os.pwrite(descriptor, b"LINE", 0)
    assert (d / "log").read_bytes() == b"LINE\n"


def written_directly(d: Path) -> None:
    with opened(d / "file", os.O_WRONLY | os.O_DIRECT) as descriptor, mmap.mmap(-1, 4096) as page:
        page.write(b"d" * 4096)
        os.pwrite(descriptor, page, 8192)


def written_by_opening_anew(d: Path) -> None:
    with opened(d / "file", os.O_PATH) as path_only, opened(Path(f"/proc/self/fd/{path_only}"), os.O_WRONLY) as again:
        os.pwrite(again, b"through /proc", 5)


def sent(d: Path) -> None:
    with opened(d / "other") as source, opened(d / "file") as target:
        assert os.sendfile(target, source, 0, 4000) == 4000


def received(d: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, opened(d / "file") as target:
        theirs.sendall(b"from a socket" * 100)
        reader, writer = os.pipe()
        length = os.splice(ours.fileno(), writer, 1300)
        assert os.splice(reader, target, length, offset_dst=300) == length
        os.close(reader)
        os.close(writer)


def spliced(d: Path) -> None:
    reader, writer = os.pipe()
    with opened(d / "file") as target:
        os.write(writer, b"spliced" * 500)
        assert os.splice(reader, target, 3500, offset_dst=100) == 3500
    os.close(reader)
    os.close(writer)


def copied_range(d: Path) -> None:
    with opened(d / "other") as source, opened(d / "file") as target:
        assert os.copy_file_range(source, target, 3000, 10, 20) == 3000


def copied_range_within(d: Path) -> None:
    with opened(d / "file") as one:
        assert os.copy_file_range(one, one, 3000, 17, SIZE) == 3000


def shortened(d: Path) -> None:
    with opened(d / "file") as descriptor:
        os.ftruncate(descriptor, 123)


def lengthened(d: Path) -> None:
    with opened(d / "file") as descriptor:
        os.ftruncate(descriptor, SIZE + 5000)


def allocated(mode: int, offset: int, length: int) -> Case:
    def act(d: Path) -> None:
        with opened(d / "file") as descriptor:
            call("fallocate", descriptor, mode, offset, length)

    return f"fallocate {mode:#x} at {offset}", act


def space_given_back(d: Path) -> None:
    with opened(d / "file") as descriptor:
        fcntl.ioctl(descriptor, FS_IOC_UNRESVSP, struct.pack("hhqqiI4I", 0, 0, 4096, 8192, 0, 0, 0, 0, 0, 0))
    assert (d / "file").read_bytes()[4096:12288] == bytes(8192)


def mapped(*, synced: bool, closed: bool) -> Case:
    def act(d: Path) -> None:
        descriptor = os.open(d / "file", os.O_RDWR)
        mapping = mmap.mmap(descriptor, SIZE)
        if closed:
            os.close(descriptor)
        mapping[20_000:20_006] = b"mapped"
        if synced:
            mapping.flush()
        mapping.close()
        if not closed:
            os.close(descriptor)

    return f"mmap, {'msync' if synced else 'munmap'}, {'closed before' if closed else 'open'}", act


def mapped_by_a_process_that_dies(d: Path) -> None:
    script = """if True:
        import mmap, os, signal
        file = open("file", "r+b")
        mapping = mmap.mmap(file.fileno(), 0)
        mapping[100:108] = b"last act"
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", script], cwd=d, check=False, timeout=20)
    assert (d / "file").read_bytes()[100:108] == b"last act"


def mapped_and_unlinked(d: Path) -> None:
    with opened(d / "file") as descriptor, mmap.mmap(descriptor, SIZE) as mapping:
        (d / "file").unlink()
        mapping[:4] = b"gone"
        mapping.flush()
        os.write(descriptor, b"gone")


def pages_removed(d: Path) -> None:
    with opened(d / "file") as descriptor, mmap.mmap(descriptor, SIZE) as mapping:
        mapping.madvise(mmap.MADV_REMOVE, 4096, 8192)
    assert (d / "file").read_bytes()[4096:12288] == bytes(8192)


def written_after_unlink(d: Path) -> None:
    with opened(d / "file") as descriptor:
        (d / "file").unlink()
        os.write(descriptor, b"gone")
        os.ftruncate(descriptor, 9)
        os.fchmod(descriptor, 0o600)


def written_after_rename(d: Path) -> None:
    with opened(d / "file") as descriptor:
        os.write(descriptor, b"before")
        (d / "file").rename(d / "empty" / "moved")
        os.write(descriptor, b"after")


def written_after_the_directory_moved(d: Path) -> None:
    with opened(d / "full" / "inner" / "file") as descriptor:
        (d / "full").rename(d / "elsewhere")
        os.write(descriptor, b"after")


def written_to_what_was_replaced(d: Path) -> None:
    with opened(d / "file") as descriptor:
        (d / "other").rename(d / "file")
        os.write(descriptor, b"nobody sees this")


def written_asynchronously(d: Path) -> None:
    """io_submit(2) by the numbers that the C library's wrapper would use: they differ, so ask for them by architecture."""
    setup, submit, destroy = {"x86_64": (206, 209, 207), "aarch64": (0, 2, 1)}[os.uname().machine]
    context = ctypes.c_ulong(0)
    data = ctypes.create_string_buffer(b"asynchronous")
    with opened(d / "file") as descriptor:
        call("syscall", setup, 1, ctypes.byref(context))
        block = struct.pack(
            "<QIIHhIQQqQII", 0, 0, 0, 1, 0, descriptor, ctypes.addressof(data), 12, 4000, 0, 0, 0
        )  # struct iocb, IOCB_CMD_PWRITE
        buffer = ctypes.create_string_buffer(block)
        pointer = ctypes.c_void_p(ctypes.addressof(buffer))
        assert call("syscall", submit, context.value, 1, ctypes.byref(pointer)) == 1
        call("syscall", destroy, context.value)  # waits for what is under way
    assert (d / "file").read_bytes()[4000:4012] == b"asynchronous"


def made_where_the_directory_went(d: Path) -> None:
    with opened(d / "full" / "inner", os.O_PATH) as directory:
        (d / "full").rename(d / "moved")
        descriptor = os.open("made", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o604, dir_fd=directory)
        os.write(descriptor, b"made")
        os.close(descriptor)


CASES: list[Case] = [
    ("write", written),
    ("write past the end", written_past_the_end),
    ("writev", written_in_vectors),
    written_with(b"a" * 10, b"b" * 10),
    written_with(b"synced", flags=RWF_DSYNC),
    written_with(b"appended", flags=RWF_APPEND),
    ("O_APPEND, two descriptors", appended),
    ("O_APPEND, several processes", appended_by_processes),
    ("O_APPEND taken away", append_taken_away),
    ("O_DIRECT", written_directly),
    ("io_submit", written_asynchronously),
    ("open through /proc", written_by_opening_anew),
    ("O_TRUNC", lambda d: os.close(os.open(d / "file", os.O_WRONLY | os.O_TRUNC))),
    ("O_TRUNC, read only", lambda d: os.close(os.open(d / "file", os.O_RDONLY | os.O_TRUNC))),
    ("O_TRUNC and O_CREAT", lambda d: (d / "file").write_bytes(b"anew")),
    ("O_TRUNC through a symlink", lambda d: (d / "link").write_bytes(b"anew")),
    ("creat over a file", lambda d: os.close(call("creat", d / "file", 0o600))),
    ("sendfile", sent),
    ("splice", spliced),
    ("splice from a socket", received),
    ("copy_file_range", copied_range),
    ("copy_file_range in a file", copied_range_within),
    ("truncate", lambda d: os.truncate(d / "file", 10)),
    ("truncate to more", lambda d: os.truncate(d / "file", SIZE * 3)),
    ("ftruncate", shortened),
    ("ftruncate to more", lengthened),
    allocated(0, SIZE - 10, 20_000),
    allocated(0, 0, SIZE * 2),
    allocated(KEEP_SIZE | PUNCH_HOLE, 4096, 8192),
    allocated(ZERO_RANGE, 1000, 5000),
    allocated(ZERO_RANGE, SIZE - 10, 5000),
    allocated(ZERO_RANGE | KEEP_SIZE, SIZE - 10, 5000),
    ("FS_IOC_UNRESVSP", space_given_back),
    ("madvise MADV_REMOVE", pages_removed),
    mapped(synced=True, closed=False),
    mapped(synced=True, closed=True),
    mapped(synced=False, closed=False),
    mapped(synced=False, closed=True),
    ("mmap, SIGKILL", mapped_by_a_process_that_dies),
    ("mmap after unlink", mapped_and_unlinked),
    ("write after unlink", written_after_unlink),
    ("write after rename", written_after_rename),
    ("write after the directory was renamed", written_after_the_directory_moved),
    ("write to what was replaced", written_to_what_was_replaced),
    ("write takes setuid and the capability away", as_user("printf x | dd of=program conv=notrunc status=none")),
    ("O_APPEND takes setuid and the capability away", as_user("echo x >> program")),
    ("O_TRUNC takes setuid and the capability away", as_user(": > program")),
    ("ftruncate takes setuid and the capability away", as_user("truncate -s 5 program")),
    ("fallocate takes setuid and the capability away", as_user("fallocate -l 100000 program")),
    ("openat in a directory that was renamed", made_where_the_directory_went),
]
