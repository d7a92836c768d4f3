"""Owners, modes, ACLs and privileges: who may do what, and what becomes of what they make."""

import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from tests.mount.mounting import Mounted, run_as_user

pytestmark = pytest.mark.mount


@pytest.fixture
def root(mounted: Mounted) -> Path:
    return mounted.path


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return an ACL as the kernel encodes it: (tag, permissions, id) each."""
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, perm, ident & 0xFFFFFFFF) for tag, perm, ident in entries
    )


USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 0x10, 0x20
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1, 0, 0, 0)


def test_acls_grant_what_the_mode_does_not_and_set_the_mask(root: Path) -> None:
    path = root / "file"
    path.write_text("secret")
    path.chmod(0o600)
    entries = (USER_OBJ, 6, -1), (USER, 4, 65534), (GROUP_OBJ, 0, -1), (MASK, 4, -1), (OTHER, 0, -1)
    os.setxattr(path, b"system.posix_acl_access", acl(*entries))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    run_as_user("test $(cat file) = secret", root)
    path.chmod(0o600)
    with pytest.raises(subprocess.CalledProcessError):
        run_as_user("cat file 2>/dev/null", root)


def test_a_default_acl_is_inherited(root: Path) -> None:
    directory = root / "d"
    directory.mkdir()
    entries = (USER_OBJ, 7, -1), (USER, 6, 1234), (GROUP_OBJ, 5, -1), (MASK, 7, -1), (OTHER, 0, -1)
    os.setxattr(directory, b"system.posix_acl_default", acl(*entries))
    (directory / "file").touch()
    assert "system.posix_acl_access" in os.listxattr(directory / "file")
    (directory / "sub").mkdir()
    assert "system.posix_acl_default" in os.listxattr(directory / "sub")


def test_what_a_user_makes_belongs_to_that_user(root: Path) -> None:
    run_as_user("umask 027; touch f; mkdir d; ln -s x l; mkfifo p", root)
    modes = {}
    for name in "fdlp":
        status = os.lstat(root / name)
        assert (status.st_uid, status.st_gid) == (65534, 65534)
        modes[name] = stat.S_IMODE(status.st_mode)
    assert modes == {"f": 0o640, "d": 0o750, "l": 0o777, "p": 0o640}


def test_a_setgid_directory_hands_its_group_down(root: Path) -> None:
    (root / "shared").mkdir()
    os.chown(root / "shared", 0, 4321)
    (root / "shared").chmod(0o2777)
    run_as_user("touch shared/file; mkdir shared/sub", root)
    assert (root / "shared" / "file").stat().st_gid == 4321
    sub = (root / "shared" / "sub").stat()
    assert (sub.st_uid, sub.st_gid) == (65534, 4321)
    assert sub.st_mode & stat.S_ISGID


def test_privileges_go_when_somebody_else_changes_the_bytes(root: Path) -> None:
    path = root / "program"
    for script in ("echo x >> program", ": > program"):
        path.write_bytes(b"x")
        path.chmod(0o6777)
        os.setxattr(path, b"security.capability", CAPABILITY)
        assert path.stat().st_mode & 0o6000 == 0o6000
        run_as_user(script, root)
        assert path.stat().st_mode & 0o6000 == 0
        assert os.listxattr(path) == []


def test_a_user_is_kept_out_of_what_is_not_theirs(root: Path) -> None:
    (root / "secret").write_text("x")
    (root / "secret").chmod(0o600)
    for script in ("cat secret", "echo x > secret", "chmod 777 secret", "chown 65534 secret"):
        with pytest.raises(subprocess.CalledProcessError):
            run_as_user(script + " 2>/dev/null", root)


def test_trusted_xattrs_are_not_listed_to_users(root: Path) -> None:
    (root / "file").touch()
    os.setxattr(root / "file", b"trusted.t", b"x")
    assert os.listxattr(root / "file") == ["trusted.t"]
    run_as_user("python3 -c \"import os; assert os.listxattr('file') == []\"", root)


def test_privileges_go_with_the_owner(root: Path) -> None:
    path = root / "program"
    path.write_bytes(b"x")
    path.chmod(0o6755)
    os.setxattr(path, b"security.capability", CAPABILITY)
    os.chown(path, 65534, -1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert os.listxattr(path) == []


def test_setgid_goes_when_somebody_outside_of_the_group_sets_mode_or_acl(root: Path) -> None:
    """Of directories, too."""
    entries = acl((USER_OBJ, 7, -1), (GROUP_OBJ, 7, -1), (OTHER, 7, -1)).hex()
    as_acl = f"python3 -c \"import os; os.setxattr('{{0}}', 'system.posix_acl_access', bytes.fromhex('{entries}'))\""
    (root / "file").touch()
    (root / "directory").mkdir()
    for name in ("file", "directory"):
        os.chown(root / name, 65534, 4321)
        for script in (f"chmod 2777 {name}", as_acl.format(name)):
            (root / name).chmod(0o2755)
            run_as_user(script, root)
            assert stat.S_IMODE((root / name).stat().st_mode) == 0o777


def test_in_a_sticky_directory_only_owners_remove_and_rename(root: Path) -> None:
    (root / "shared").mkdir()
    (root / "shared").chmod(0o1777)
    (root / "shared" / "ours").touch()
    run_as_user(
        "touch shared/theirs; ! rm -f shared/ours 2>/dev/null; ! mv shared/theirs shared/ours 2>/dev/null", root
    )
    run_as_user("mv shared/theirs shared/moved; rm shared/moved", root)
    assert os.listdir(root / "shared") == ["ours"]


@pytest.mark.parametrize(
    "script",
    [
        "fallocate -l 100 program",
        "fallocate -p -o 0 -l 4096 program",
        "printf x | dd of=program conv=notrunc status=none",
        "truncate -s 5 program",
        ": > program",
    ],
)
def test_a_file_whose_privileges_went_is_not_run_with_them(root: Path, script: str) -> None:
    """Whoever asks for the mode alone is told; programs are started by what the kernel has remembered of it."""
    path = root / "program"
    path.write_bytes(b"x" * 8192)
    path.chmod(0o6777)
    assert subprocess.run(["stat", "-c%a", path], check=True, capture_output=True).stdout == b"6777\n"
    run_as_user(script, root)
    assert subprocess.run(["stat", "-c%a", path], check=True, capture_output=True).stdout == b"777\n"


@pytest.mark.parametrize("attribute", ["a", "i"])
def test_a_file_that_cannot_be_emptied_is_left_open_by_nobody(mounted: Mounted, attribute: str) -> None:
    path = mounted.path / "file"
    path.write_bytes(b"content")
    descriptors = Path(f"/proc/{mounted.pids()[1]}/fd")
    subprocess.run(["chattr", f"+{attribute}", path], check=True)
    try:
        before = len(list(descriptors.iterdir()))
        for flags in [os.O_WRONLY | os.O_APPEND | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC] * 20:
            with pytest.raises(PermissionError):
                os.open(path, flags)
        assert len(list(descriptors.iterdir())) < before + 10
    finally:
        subprocess.run(["chattr", f"-{attribute}", path], check=True)
    assert path.read_bytes() == b"content"
