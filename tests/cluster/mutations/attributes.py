"""Changes of attributes."""

import ctypes
import os
from pathlib import Path

from tests.cluster.mutations.calls import (
    AT_FDCWD,
    CAPABILITY,
    Case,
    as_root,
    as_user,
    call,
    call_number,
    opened,
    times,
)
from tests.mount.test_permissions import GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, acl

SYS_FCHMODAT2, SYS_SETXATTRAT, SYS_REMOVEXATTRAT = 452, 463, 466
AT_SYMLINK_NOFOLLOW = 0x100
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2
ACL = acl((USER_OBJ, 7, -1), (USER, 6, 1234), (GROUP_OBJ, 5, -1), (MASK, 7, -1), (OTHER, 0, -1))


def by_descriptor(name: str, *arguments: object, of: str = "file", flags: int = os.O_RDONLY) -> Case:
    """A function of the C library whose first argument is a descriptor."""

    def act(d: Path) -> None:
        with opened(d / of, flags) as descriptor:
            call(name, descriptor, *arguments)

    return f"{name} of {of}", act


def by_path(name: str, *arguments: object, of: str = "file") -> Case:
    """A function of the C library whose first argument is a path."""
    return f"{name} of {of}", lambda d: call(name, d / of, *arguments)


def by_name_at(name: str, *arguments: object, of: str = "file", flags: int = 0) -> Case:
    """A function of the C library that takes a directory, a name, what to set, and flags."""

    def act(d: Path) -> None:
        with opened(d, os.O_PATH) as directory:
            call(name, directory, of.encode(), *arguments, flags)

    return f"{name} of {of}", act


def through_proc(d: Path) -> None:
    with opened(d / "file", os.O_PATH) as descriptor:
        path = f"/proc/self/fd/{descriptor}"
        os.chmod(path, 0o604)
        os.chown(path, 5, 6)
        os.utime(path, ns=(7, 8))
        os.setxattr(path, "user.proc", b"x")


def attribute_set_at(d: Path) -> None:
    value = ctypes.create_string_buffer(b"value", 5)
    arguments = ctypes.addressof(value).to_bytes(8, "little") + (5).to_bytes(4, "little") + bytes(4)
    call_number(SYS_SETXATTRAT, AT_FDCWD, d / "file", 0, b"user.at", arguments, len(arguments))
    assert os.getxattr(d / "file", "user.at") == b"value"


def many_attributes(d: Path) -> None:
    for number in range(20):
        os.setxattr(d / "file", f"user.{number}", bytes([number]) * 50)
    os.setxattr(d / "full", "user.directory", b"x")
    os.setxattr(d / "file", "trusted.csfs", b"t")
    os.setxattr(d / "link", "trusted.csfs", b"of the link", follow_symlinks=False)


def inherited(d: Path) -> None:
    os.setxattr(d / "empty", "system.posix_acl_default", ACL)
    before = os.umask(0o077)
    try:
        (d / "empty" / "file").write_bytes(b"x")
        (d / "empty" / "directory").mkdir()
        os.mkfifo(d / "empty" / "fifo")
    finally:
        os.umask(before)
    assert (d / "empty" / "file").stat().st_mode & 0o777 == 0o660


CASES: list[Case] = [
    by_path("chmod", 0o4751),
    by_path("chmod", 0o1777, of="full"),
    by_path("chmod", 0o600, of="fifo"),
    by_path("chmod", 0o600, of="link"),  # of what it leads to
    by_descriptor("fchmod", 0o2710),
    by_descriptor("fchmod", 0o2710, of="full"),
    by_name_at("fchmodat", 0o604),
    ("fchmodat2", lambda d: call_number(SYS_FCHMODAT2, AT_FDCWD, d / "file", 0o604, AT_SYMLINK_NOFOLLOW)),
    by_path("chown", 11, 12),
    by_path("chown", -1, 12),
    by_path("chown", 54321, -1, of="full"),
    by_path("lchown", 11, 12, of="link"),
    by_descriptor("fchown", 11, 12),
    by_descriptor("fchown", 11, 12, of="full"),
    by_name_at("fchownat", 11, 12),
    by_name_at("fchownat", 11, 12, of="link", flags=AT_SYMLINK_NOFOLLOW),
    by_path("chown", 11, 12, of="program"),  # which takes setuid and the capability away
    by_path("utime", times((5, 1_234_567_890))),
    by_path("utime", None),
    by_path("utimes", times((5, 0), (6, 123_456))),
    by_path("utimes", None),
    by_path("lutimes", times((5, 0), (6, 123_456)), of="link"),
    by_descriptor("futimes", times((5, 0), (6, 123_456))),
    by_descriptor("futimens", times((5, 1), (6, 999_999_999))),
    by_descriptor("futimens", times((5, 1), (6, 7)), of="full"),
    by_name_at("utimensat", times((5, 1), (-6, 7))),
    by_name_at("utimensat", times((0, NOW), (0, NOW))),
    by_name_at("utimensat", times((0, OMIT), (6, 7))),
    by_name_at("utimensat", times((5, 1), (0, NOW))),
    by_name_at("utimensat", times((5, 1), (6, 7)), of="link", flags=AT_SYMLINK_NOFOLLOW),
    by_name_at("utimensat", times((5, 1), (6, 7)), of="fifo"),
    ("utimensat by a user", as_user("touch file")),
    by_path("setxattr", b"user.new", b"value", 5, 1),
    by_path("setxattr", b"user.old", b"replaced", 8, 2),
    by_path("setxattr", b"user.empty", b"", 0, 0),
    by_path("setxattr", b"security.capability", CAPABILITY, len(CAPABILITY), 0),
    by_path("setxattr", b"system.posix_acl_access", ACL, len(ACL), 0),
    by_path("setxattr", b"system.posix_acl_default", ACL, len(ACL), 0, of="full"),
    by_path("lsetxattr", b"trusted.new", b"value", 5, 0, of="link"),
    by_descriptor("fsetxattr", b"user.new", b"value", 5, 0),
    by_path("removexattr", b"user.old"),
    by_path("removexattr", b"security.capability", of="program"),
    by_path("lremovexattr", b"user.old"),
    by_descriptor("fremovexattr", b"user.old"),
    ("setxattrat", attribute_set_at),
    (
        "removexattrat",
        lambda d: call_number(SYS_REMOVEXATTRAT, AT_FDCWD, d / "file", 0, b"user.old"),
    ),
    ("many attributes", many_attributes),
    ("through /proc", through_proc),
    ("a default ACL is inherited whatever the umask", inherited),
    ("setfacl", as_root("setfacl -m u:1234:rw,d:u:1234:rwx full; touch full/made; mkdir full/sub")),
    ("chattr and what follows", as_root("chattr +d file; chmod 604 file")),
]
