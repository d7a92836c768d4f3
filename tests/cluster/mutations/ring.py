"""Changes that are asked for through a ring (io_uring), and by other calls than those that programs usually make."""

import ctypes
import fcntl
import mmap
import os
import struct
from pathlib import Path

import pytest

from tests.cluster.mutations.calls import AT_FDCWD, SIZE, Case, call, call_number, opened

SYS_SETUP, SYS_ENTER = 425, 426
SYS_FILE_GETATTR, SYS_FILE_SETATTR = 468, 469
RING_AT, ENTRIES_AT = 0, 0x1000_0000
PARAMETERS_SIZE, ENTRY_SIZE, RING_SIZE = 120, 64, 4096
FALLOCATE, WRITE, RENAMEAT, UNLINKAT, MKDIRAT, SYMLINKAT, LINKAT, FSETXATTR, FTRUNCATE = (
    17,
    23,
    35,
    36,
    37,
    38,
    39,
    41,
    55,
)
KEEP_SIZE, PUNCH_HOLE = 0x01, 0x02
FSGETXATTR, FSSETXATTR = 0x801C581F, 0x401C5820
NODUMP = 0x80
"""FS_XFLAG_NODUMP."""


class Ring:
    """One ring, one request at a time; linux/io_uring.h."""

    def __init__(self) -> None:
        parameters = ctypes.create_string_buffer(PARAMETERS_SIZE)
        try:
            self._descriptor = call_number(SYS_SETUP, 1, ctypes.addressof(parameters))
        except PermissionError:
            pytest.skip("io_uring is switched off here")
        # Where things are in the shared memory: struct io_sqring_offsets, struct io_cqring_offsets.
        _, self._tail, _, _, _, _, self._array = struct.unpack_from("7I", parameters, 40)
        self._done_head, _, self._done_mask, _, _, self._done = struct.unpack_from("6I", parameters, 80)
        self._shared = mmap.mmap(self._descriptor, RING_SIZE, offset=RING_AT)
        self._entries = mmap.mmap(self._descriptor, RING_SIZE, offset=ENTRIES_AT)

    def ask(self, opcode: int, descriptor: int, offset: int, address: int, length: int, flags: int = 0) -> int:
        """Have one request carried out; return what its system call would."""
        self._entries[:ENTRY_SIZE] = struct.pack(
            "<BBHiQQII32x", opcode, 0, 0, descriptor, offset, address, length, flags
        )
        (tail,) = struct.unpack_from("I", self._shared, self._tail)
        struct.pack_into("I", self._shared, self._array, 0)
        struct.pack_into("I", self._shared, self._tail, tail + 1)
        assert call_number(SYS_ENTER, self._descriptor, 1, 1, 1, 0, 0) == 1  # IORING_ENTER_GETEVENTS
        (head,) = struct.unpack_from("I", self._shared, self._done_head)
        (mask,) = struct.unpack_from("I", self._shared, self._done_mask)
        _, result = struct.unpack_from("<Qi", self._shared, self._done + (head & mask) * 16)
        struct.pack_into("I", self._shared, self._done_head, head + 1)
        assert result >= 0, os.strerror(-result)
        return int(result)

    def close(self) -> None:
        self._shared.close()
        self._entries.close()
        os.close(self._descriptor)


def text(value: bytes | Path) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(os.fsencode(value) if isinstance(value, Path) else value)


def through_a_ring(d: Path) -> None:
    """Content."""
    ring, data, name = Ring(), text(b"through a ring"), text(b"user.ring")
    with opened(d / "file") as file:
        assert ring.ask(WRITE, file, 1000, ctypes.addressof(data), 14) == 14
        ring.ask(FALLOCATE, file, 8192, 4096, KEEP_SIZE | PUNCH_HOLE)
        ring.ask(FSETXATTR, file, ctypes.addressof(data), ctypes.addressof(name), 7)
    ring.close()
    content = (d / "file").read_bytes()
    assert (content[1000:1014], content[8192:12288]) == (b"through a ring", bytes(4096))
    assert os.getxattr(d / "file", "user.ring") == b"through"


def truncated_through_a_ring(d: Path) -> None:
    ring = Ring()
    with opened(d / "file") as file:
        try:
            ring.ask(FTRUNCATE, file, 321, 0, 0)
        except AssertionError:
            os.ftruncate(file, 321)  # a kernel before Linux 6.9
    ring.close()


def names_through_a_ring(d: Path) -> None:
    ring = Ring()
    made, link, second, target, old, new, gone = (
        text(one) for one in (d / "made", d / "new link", d / "second", b"nowhere", d / "other", d / "moved", d / "log")
    )
    ring.ask(MKDIRAT, AT_FDCWD, 0, ctypes.addressof(made), 0o751)
    ring.ask(SYMLINKAT, AT_FDCWD, ctypes.addressof(link), ctypes.addressof(target), 0)
    ring.ask(LINKAT, AT_FDCWD, ctypes.addressof(second), ctypes.addressof(old), AT_FDCWD & 0xFFFFFFFF)
    ring.ask(RENAMEAT, AT_FDCWD, ctypes.addressof(new), ctypes.addressof(old), AT_FDCWD & 0xFFFFFFFF)
    ring.ask(UNLINKAT, AT_FDCWD, 0, ctypes.addressof(gone), 0)
    ring.close()
    assert {"made", "new link", "second", "moved"} <= set(os.listdir(d))
    assert not {"other", "log"} & set(os.listdir(d))


def opened_by_handle(d: Path) -> None:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 8 + 128)
    mount = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, d / "file", ctypes.addressof(handle), ctypes.addressof(mount), 0)
    with opened(d, os.O_RDONLY) as directory:
        descriptor = call("open_by_handle_at", directory, ctypes.addressof(handle), os.O_RDWR)
    os.pwrite(descriptor, b"by handle", 50)
    os.close(descriptor)


def written_into_a_mapping_by_another(d: Path) -> None:
    data = text(b"by process_vm_writev")
    with opened(d / "file") as file, mmap.mmap(file, SIZE) as mapping:
        place = (ctypes.c_char * SIZE).from_buffer(mapping)
        ours = struct.pack("QQ", ctypes.addressof(data), 20)
        theirs = struct.pack("QQ", ctypes.addressof(place) + 30_000, 20)
        assert call("process_vm_writev", os.getpid(), ours, 1, theirs, 1, 0) == 20
        del place


def flags_set_by_path(d: Path) -> None:
    """What is set is each member's own, and what follows is not."""
    attributes = ctypes.create_string_buffer(24)
    call_number(SYS_FILE_GETATTR, AT_FDCWD, d / "file", ctypes.addressof(attributes), 24, 0)
    (flags,) = struct.unpack_from("Q", attributes)
    struct.pack_into("Q", attributes, 0, flags | NODUMP)
    call_number(SYS_FILE_SETATTR, AT_FDCWD, d / "file", ctypes.addressof(attributes), 24, 0)
    assert flags_of(d / "file") & NODUMP
    (d / "file").chmod(0o604)


def flags_set_by_ioctl(d: Path) -> None:
    with opened(d / "full", os.O_RDONLY) as directory:
        attributes = bytearray(28)
        fcntl.ioctl(directory, FSGETXATTR, attributes)
        struct.pack_into("I", attributes, 0, struct.unpack_from("I", attributes)[0] | NODUMP)
        fcntl.ioctl(directory, FSSETXATTR, attributes)
    assert flags_of(d / "full") & NODUMP
    (d / "full").chmod(0o711)


def flags_of(path: Path) -> int:
    with opened(path, os.O_RDONLY) as descriptor:
        attributes = bytearray(28)
        fcntl.ioctl(descriptor, FSGETXATTR, attributes)
    return int(struct.unpack_from("I", attributes)[0])


CASES: list[Case] = [
    ("io_uring, content", through_a_ring),
    ("io_uring, truncation", truncated_through_a_ring),
    ("io_uring, names", names_through_a_ring),
    ("open_by_handle_at", opened_by_handle),
    ("process_vm_writev", written_into_a_mapping_by_another),
    ("file_setattr", flags_set_by_path),
    ("FS_IOC_FSSETXATTR", flags_set_by_ioctl),
]
