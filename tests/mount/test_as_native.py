"""The same done in a plain directory and through a mount has the same outcome."""

import ctypes
import itertools
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.mounting import Mounted, run_as_user
from tests.mount.test_permissions import GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, acl

pytestmark = pytest.mark.mount
MODES = (0o777, 0o6777, 0o4755, 0o2711, 0o2755, 0o1666)
MAKE = """
import json, os, stat, sys
umask, modes = int(sys.argv[1], 8), json.loads(sys.argv[2])
os.umask(umask)
for above in ("plain", "setgid", "theirs"):
    for mode in modes:
        name = f"{above}/{mode:o}-"
        for what, make in (
            ("opened", lambda: os.close(os.open(name + "opened", os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))),
            ("directory", lambda: os.mkdir(name + "directory", mode)),
            ("node", lambda: os.mknod(name + "node", stat.S_IFREG | mode)),
            ("fifo", lambda: os.mkfifo(name + "fifo", mode)),
        ):
            make()
"""


def both(mounted: Mounted) -> tuple[Path, Path]:
    """Return a plain directory on the same file system, and the volume's."""
    native = mounted.base / "native"
    native.mkdir()
    mounted.base.chmod(0o755)
    return native, mounted.path


@pytest.mark.parametrize("user", ["nobody", "root"])
@pytest.mark.parametrize("umask", ["0", "027"])
def test_what_is_made_has_the_mode_and_owner_that_it_would_have(mounted: Mounted, user: str, umask: str) -> None:
    found = []
    for top in both(mounted):
        for name, group, mode in (("plain", 0, 0o777), ("setgid", 4321, 0o2777), ("theirs", 65534, 0o2777)):
            (top / name).mkdir()
            os.chown(top / name, 0, group)
            (top / name).chmod(mode)
        as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if user == "nobody" else []
        subprocess.run([*as_user, sys.executable, "-c", MAKE, umask, json.dumps(MODES)], cwd=top, check=True)
        status = {path.relative_to(top): os.lstat(path) for path in top.glob("*/*")}
        found.append({name: (oct(one.st_mode), one.st_uid, one.st_gid) for name, one in status.items()})
    native, through_csfs = found
    assert len(native) == 3 * 4 * len(MODES)
    assert through_csfs == native


NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2
TIMES = [(5, 7), (0, NOW), (0, OMIT)]


@pytest.mark.parametrize(("atime", "mtime"), [*itertools.product(TIMES, TIMES)])
def test_times_that_are_left_out_stay_and_those_that_are_to_be_now_are(
    mounted: Mounted, atime: tuple[int, int], mtime: tuple[int, int]
) -> None:
    path = mounted.path / "file"
    path.touch()
    before = (1_000_000_001, 1_000_000_002)
    os.utime(path, ns=before)
    began = time_of_the_file_system(mounted)
    times = (ctypes.c_long * 4)(*atime, *mtime)
    assert ctypes.CDLL(None, use_errno=True).utimensat(-100, os.fsencode(path), times, 0) == 0
    status = path.stat()
    under = os.stat("file", dir_fd=mounted.underneath)
    assert (status.st_atime_ns, status.st_mtime_ns) == (under.st_atime_ns, under.st_mtime_ns)
    for asked, was, is_now in ((atime, before[0], status.st_atime_ns), (mtime, before[1], status.st_mtime_ns)):
        if asked[1] == NOW:
            assert began <= is_now <= time_of_the_file_system(mounted)
        else:
            assert is_now == (was if asked[1] == OMIT else asked[0] * 10**9 + asked[1])


def time_of_the_file_system(mounted: Mounted) -> int:
    """Return what a new file's time is, underneath: coarser than the clock."""
    os.close(os.open("clock", os.O_CREAT | os.O_WRONLY, dir_fd=mounted.underneath))
    os.utime("clock", dir_fd=mounted.underneath)
    moment = os.stat("clock", dir_fd=mounted.underneath).st_mtime_ns
    os.unlink("clock", dir_fd=mounted.underneath)
    return moment


def entries(directory: Path) -> dict[bytes, tuple[int, int]]:
    """Return inode number and type of each entry as getdents64(2) gives them, `.` and `..` among them."""
    call = {"x86_64": 217, "aarch64": 61}[os.uname().machine]
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    found: dict[bytes, tuple[int, int]] = {}
    buffer = ctypes.create_string_buffer(1 << 15)
    while (size := libc.syscall(call, descriptor, buffer, len(buffer))) > 0:
        position = 0
        while position < size:
            inode, _, length, kind = struct.unpack_from("=QqHB", buffer, position)
            name = ctypes.string_at(ctypes.addressof(buffer) + position + 19)
            assert name not in found, "once each"
            found[name] = inode, kind
            position += length
    os.close(descriptor)
    assert size == 0
    return found


def test_a_listing_has_the_directory_itself_and_the_one_above(mounted: Mounted) -> None:
    below = mounted.path / "above" / "below"
    below.mkdir(parents=True)
    (below / "file").touch()
    (below / "link").symlink_to("file")
    os.mkfifo(below / "fifo")
    under = os.open("above/below", os.O_RDONLY, dir_fd=mounted.underneath)
    for _ in range(2):  # read, and then from the kernel's memory
        found = entries(below)
        assert found == entries(Path(f"/proc/self/fd/{under}/."))
        assert (found[b"."][0], found[b".."][0]) == (below.stat().st_ino, below.parent.stat().st_ino)
    os.close(under)
    assert {b".", b"..", b"above"} == set(entries(mounted.path))


EXCLUSIVE = """
import os, sys
sys.stdin.readline()
for number in range(200):
    try:
        os.close(os.open(str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        print(number)
    except FileExistsError:
        pass
"""


def test_of_many_that_make_a_file_exclusively_one_does(mounted: Mounted) -> None:
    line = [sys.executable, "-c", EXCLUSIVE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    several = [subprocess.Popen(line, cwd=mounted.path, text=True, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for one in several:
        one.stdin.write("\n")
        one.stdin.flush()
    made = [int(number) for one in several for number in one.communicate(timeout=60)[0].split()]
    assert sorted(made) == list(range(200))
    assert all(one.returncode == 0 for one in several)


CAP_DAC_READ_SEARCH = struct.pack("<IIIII", 0x02000001, 1 << 2, 0, 0, 0)


def test_a_program_runs_with_the_capability_that_it_has(mounted: Mounted) -> None:
    secret = mounted.base / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    mounted.base.chmod(0o755)
    program = mounted.path / "reader"
    program.write_bytes(Path("/bin/cat").read_bytes())
    program.chmod(0o755)
    run_as_user(f"! ./reader {secret} 2>/dev/null", mounted.path)
    os.setxattr(program, "security.capability", CAP_DAC_READ_SEARCH)
    run_as_user(f"./reader {secret} >read", mounted.path)
    assert (mounted.path / "read").read_text() == "secret"
    os.removexattr(program, "security.capability")
    run_as_user(f"! ./reader {secret} 2>/dev/null", mounted.path)


ACL = acl((USER_OBJ, 6, -1), (USER, 4, 1234), (GROUP_OBJ, 0, -1), (MASK, 4, -1), (OTHER, 0, -1))


@pytest.mark.parametrize("name", ["user.x", "trusted.x", "security.x", "system.posix_acl_access"])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_attributes_of_each_namespace_are_there_and_underneath(mounted: Mounted, name: str, kind: str) -> None:
    path = mounted.path / kind
    path.mkdir() if kind == "directory" else path.touch()
    value = ACL if name.startswith("system.") else b"\0any\xff"
    os.setxattr(path, name, value)
    under = f"/proc/self/fd/{mounted.underneath}/{kind}"
    assert os.getxattr(path, name) == os.getxattr(under, name) == value
    assert os.listxattr(path) == os.listxattr(under) == [name]
    os.removexattr(path, name)
    assert os.listxattr(path) == os.listxattr(under) == []
