"""What a change of content or owner takes away, setuid, setgid, capabilities: the same as in a directory without csfs."""

import itertools
import os
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from csfs.core.changes import ChangeKind
from csfs.mount.direct import Asking
from csfs.mount.operations import privileges
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, run_as_user

pytestmark = pytest.mark.mount
NOBODY = 65534
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1, 0, 0, 0)
MODES = (0o4777, 0o6777, 0o2767, 0o2777, 0o6666, 0o777)
OWNERS = {"theirs": (NOBODY, NOBODY), "of-another-group": (NOBODY, 4321), "of-roots": (0, 4321)}

OPERATIONS = {
    "write": "os.write(os.open(name, os.O_WRONLY), b'y')",
    "append": "os.write(os.open(name, os.O_WRONLY | os.O_APPEND), b'y')",
    "open to truncate": "os.open(name, os.O_WRONLY | os.O_TRUNC)",
    "create what is there": "os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o600)",
    "truncate": "os.truncate(name, 1)",
    "ftruncate": "os.ftruncate(os.open(name, os.O_RDWR), 0)",
    "fallocate": "os.posix_fallocate(os.open(name, os.O_RDWR), 0, 100)",
    "copy_file_range": "os.copy_file_range(os.open('source', 0), os.open(name, os.O_RDWR), 4)",
    "change the group": "os.chown(name, -1, 65534)",
    "change the owner to itself": "os.chown(name, os.stat(name).st_uid, -1)",
    "set the time": "os.utime(name)",
    # what a mapping writes is written underneath by a system call, which takes a capability away: docs/limits.md
    "map and write": "m = mmap.mmap(os.open(name, os.O_RDWR), 2) if 'capable' not in name else b''; \nif m: m[0] = 65; m.flush()",
}
RUN = """
import mmap, os, sys
for name in sys.argv[2:]:
    try:
        exec(sys.argv[1])
    except PermissionError:
        pass
"""


def prepared(directory: Path, modes: tuple[int, ...]) -> list[str]:
    """Make a file of each kind, and return their names."""
    (directory / "source").write_bytes(b"copied")
    directory.chmod(0o777)
    names = []
    for (owner, ids), mode, capable in itertools.product(OWNERS.items(), modes, (False, True)):
        name = f"{owner}-{mode:o}" + "-capable" * capable
        path = directory / name
        path.write_bytes(b"xx")
        os.chown(path, *ids)
        path.chmod(mode)
        if capable:
            os.setxattr(path, "security.capability", CAPABILITY)
        names.append(name)
    return names


def shown(directory: Path, names: list[str]) -> dict[str, tuple[str, list[str], bytes]]:
    """Return mode, attributes and content of each file."""
    return {
        name: (oct((directory / name).stat().st_mode), os.listxattr(directory / name), (directory / name).read_bytes())
        for name in names
    }


@pytest.mark.parametrize("user", ["nobody", "root"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_privileges_go_and_stay_as_they_do_without_csfs(mounted: Mounted, operation: str, user: str) -> None:
    check_as_native(mounted, operation, user)


@pytest.mark.parametrize("operation", ["write", "open to truncate", "truncate", "change the group"])
def test_they_do_so_where_the_kernel_takes_care_of_privileges_itself(volume: Mounted, operation: str) -> None:
    volume.prelude = "from csfs.mount.intake import Intake; Intake._greeted = lambda self, offered: None\n"
    volume.start()
    check_as_native(volume, operation, "nobody", modes=(0o4777, 0o6777, 0o777))  # it forgets setgid without execution
    volume.stop(lazy=True)


def check_as_native(mounted: Mounted, operation: str, user: str, modes: tuple[int, ...] = MODES) -> None:
    outcomes = []
    for directory in (mounted.base / "native", mounted.path):
        directory.mkdir(exist_ok=True)
        mounted.base.chmod(0o755)
        names = prepared(directory, modes)
        as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if user == "nobody" else []
        command = [*as_user, sys.executable, "-c", RUN, OPERATIONS[operation], *names]
        subprocess.run(command, cwd=directory, check=True)
        outcomes.append(shown(directory, names))
    native, through_csfs = outcomes
    assert through_csfs == native
    underneath = Path(f"/proc/self/fd/{mounted.underneath}")
    assert shown(underneath, names) == native


def test_a_program_that_was_changed_does_not_run_with_the_privileges_it_had(mounted: Mounted) -> None:
    program = mounted.path / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4777)
    run_as_user("test $(./id -u) = 0", mounted.path)
    # The kernel has the mode in its cache, and nobody asks for it between the write and the execution.
    run_as_user("echo changed >> id; ./id -u > who", mounted.path)
    assert (mounted.path / "who").read_text() == "65534\n"


def test_what_a_write_takes_away_is_told(served: tuple[Mounted, FakeDaemon]) -> None:
    volume, daemon = served
    path = volume.path / "program"
    for script in ("echo x >> program", "truncate -s 1 program", ": > program"):
        path.write_bytes(b"xyz")
        path.chmod(0o6777)
        daemon.flushed()
        run_as_user(script, volume.path)
        assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
        assert ChangeKind.META in {row.kind for row in daemon.flushed() if row.path == b"program"}


def test_the_kernel_does_not_ask_before_each_write_whether_there_is_a_capability(mounted: Mounted) -> None:
    def reads() -> int:
        lines = Path(f"/proc/{mounted.pids()[1]}/io").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("syscr")))

    count = 2000
    with open(mounted.path / "file", "wb", buffering=0) as file:
        file.write(b"x")
        before = reads()
        for _ in range(count):
            file.write(b"x" * 100)
    assert reads() - before < 1.5 * count  # two requests a write otherwise


def test_what_cannot_lose_its_privileges_is_not_written(mounted: Mounted) -> None:
    path = mounted.path / "program"
    path.write_bytes(b"old")
    path.chmod(0o4777)
    subprocess.run(["chattr", "+a", path], check=True)
    try:
        run_as_user("! echo new >> program", mounted.path)
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"old", 0o4777)
    finally:
        subprocess.run(["chattr", "-a", path], check=True)


def test_whose_groups_cannot_be_seen_is_a_member_of_none(tmp_path: Path) -> None:
    unseen = Asking()
    unseen.uid = unseen.gid = NOBODY
    unseen.pid = 0
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o2666)
    assert privileges.cleared(path.stat(), unseen) == stat.S_ISGID
