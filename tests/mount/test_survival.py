"""Bugs, deadlocks, stopped processes, aborted connections, short memory: whatever befalls a mount process, the directory is there."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import csfs
from csfs.errors import ConfigError
from csfs.mount import checks, memory, mountinfo
from csfs.mount.options import MountOptions
from tests.disks import disk
from tests.mount.mounting import Mounted, has_ended, in_background, wait_mounts

pytestmark = pytest.mark.mount

UNTELLABLE = """
from csfs.mount.operations.attributes import Attributes
from csfs.mount.operations.extended import Extended
from csfs.mount.operations.xattrs import Xattrs


def refused(*arguments):
    raise OSError(524, "ENOTSUPP of the kernel's own")


Attributes.setattr = Xattrs.setxattr = Extended.seek = refused
"""

FAILING = """
import os
from csfs.mount.operations.passthrough import Handlers
from csfs.mount.operations.base import Base

ERRORS = (RuntimeError, MemoryError, KeyError, RecursionError, AssertionError, UnicodeError, ValueError, TypeError)
count = 0

def failing(handler):
    def handle(*arguments, **named):
        global count
        if os.path.exists({switch!r}):
            count += 1
            raise ERRORS[count % len(ERRORS)]("injected")
        return handler(*arguments, **named)
    return handle

for one in Handlers.__mro__:
    for name, handler in list(vars(one).items()):
        if callable(handler) and not name.startswith("_") and name not in ("lacks_capability", "close_all"):
            setattr(one, name, failing(handler))
"""
"""Makes everything that handlers do fail, while a file exists."""
IMPATIENT = """
from csfs.mount import pulse
pulse.SILENT_S_MAX, pulse.GRACE_S, pulse.BEAT_S = 1.0, 0.2, 0.1
"""
SELFISH = """
import os, pwd, socket
from csfs.mount.capture import Capture
told = Capture._told
def looking_at_itself(self, *arguments, **named):
    os.listdir({path!r})
    open(os.path.join({path!r}, "host.conf"), "rb").read()
    pwd.getpwnam("root")
    socket.getaddrinfo("localhost", 1)
    told(self, *arguments, **named)
Capture._told = looking_at_itself
"""
"""The mount looks at its own directory, by path, in the middle of a request."""


def calls(path: Path) -> list[Callable[[], object]]:
    """Return system calls for every kind of request, each on something that the kernel has not cached."""
    new, old, directory = path / "new", path / "old", path / "directory"
    return [
        lambda: os.stat(path / "unknown"),
        lambda: os.chmod(old, 0o600),
        lambda: os.chown(old, 1, 1),
        lambda: os.utime(old),
        lambda: os.truncate(old, 3),
        lambda: os.readlink(path / "link"),
        lambda: os.mkfifo(path / "fifo"),
        lambda: os.mkdir(path / "made"),
        lambda: os.symlink("x", path / "symlink"),
        lambda: os.link(old, path / "second"),
        lambda: os.rename(old, path / "renamed"),
        lambda: os.unlink(old),
        lambda: os.rmdir(directory),
        lambda: os.open(new, os.O_CREAT | os.O_WRONLY),
        lambda: os.open(old, os.O_RDONLY),
        lambda: os.listdir(directory),
        lambda: os.statvfs(path),
        lambda: os.setxattr(old, "user.x", b"x"),
        lambda: os.getxattr(old, "user.y"),
        lambda: os.listxattr(old),
        lambda: os.removexattr(old, "user.y"),
    ]


def on_open_file(descriptor: int) -> list[Callable[[], object]]:
    return [
        lambda: os.read(descriptor, 10),
        lambda: os.pwrite(descriptor, b"x", 0),
        lambda: os.fsync(descriptor),
        lambda: os.ftruncate(descriptor, 1),
        lambda: os.fchmod(descriptor, 0o644),
        lambda: os.lseek(descriptor, 0, os.SEEK_HOLE),
        lambda: os.posix_fallocate(descriptor, 0, 100),
    ]


def test_no_exception_in_any_handler_ends_the_mount(volume: Mounted) -> None:
    switch = volume.base / "switch"
    volume.prelude = FAILING.format(switch=str(switch))
    volume.start()
    (volume.path / "old").write_text("content")
    (volume.path / "directory").mkdir()
    os.symlink("x", volume.path / "link")
    pids = volume.pids()
    descriptor = os.open(volume.path / "old", os.O_RDWR)
    answers = []
    switch.touch()
    for call in calls(volume.path) + on_open_file(descriptor):
        try:
            call()
            answers.append(0)
        except OSError as error:
            answers.append(error.errno)
    os.close(descriptor)
    switch.unlink()
    assert set(answers) <= {0, errno.EIO}
    assert answers.count(errno.EIO) >= len(answers) - 4, "a few are answered by the kernel"
    assert volume.pids() == pids
    (volume.path / "new").write_text("content")
    assert (volume.path / "new").read_text() == "content"
    # A thread writes the log, and has written all of it only when the process has ended.
    volume.stop(lazy=True)
    assert volume.log.count("unexpected error") >= answers.count(errno.EIO)


def test_a_mount_that_looks_at_its_own_directory_does_not_wait_for_itself(volume: Mounted) -> None:
    (volume.path / "host.conf").write_text("multi on\n")
    volume.prelude = SELFISH.format(path=str(volume.path))
    volume.start()
    (volume.path / "file").write_text("content")
    assert (volume.path / "file").read_text() == "content"
    inside = mountinfo.parsed(Path(f"/proc/{volume.pids()[1]}/mountinfo").read_bytes())
    assert [mount for mount in inside if mount.type == mountinfo.TYPE] == []
    assert "unexpected" not in volume.log
    volume.stop()


def test_a_mount_process_that_stands_still_is_replaced(volume: Mounted) -> None:
    volume.prelude = IMPATIENT
    volume.start()
    (volume.path / "file").write_text("content")
    parent, child = volume.pids()
    os.kill(child, signal.SIGSTOP)
    with contextlib.suppress(OSError):
        os.stat(volume.path / "unknown")  # waits for an answer, and is told in the end that there is none
    wait_mounts(lambda: volume.pids()[1] != child)
    assert volume.pids()[0] == parent
    assert (volume.path / "file").read_text() == "content"
    assert "has not answered" in volume.log
    volume.stop()


def test_a_host_that_was_frozen_as_a_whole_goes_on_as_before(volume: Mounted) -> None:
    """As a suspended one does: the parent must not take a mount that could not beat for one that hangs."""
    volume.prelude = IMPATIENT.replace("0.2", "1.0", 1)
    volume.start()
    (volume.path / "file").write_text("content")
    pids = volume.pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    asking = in_background(lambda: (volume.path / "unknown").exists())
    subprocess.run(["sleep", "2"], check=True)  # longer than a mount may be silent
    for pid in pids:
        os.kill(pid, signal.SIGCONT)  # the parent first
    asking.join(10)
    assert not asking.is_alive()
    subprocess.run(["sleep", "2"], check=True)  # longer than it takes to find out, and to look again
    assert (volume.path / "file").read_text() == "content"
    assert volume.pids() == pids
    assert "has not answered" not in volume.log
    volume.stop()


def test_the_plain_directory_is_back_within_a_second_of_a_kill(volume: Mounted) -> None:
    (volume.path / "file").write_text("content")
    volume.start()
    held = os.open(volume.path / "file", os.O_WRONLY)
    took_s = []
    for _ in range(3):
        child = volume.pids()[1]
        begun = time.monotonic()
        os.kill(child, signal.SIGKILL)
        while not can_be_read(volume.path / "file"):
            assert time.monotonic() - begun < 10
        took_s.append(time.monotonic() - begun)
        wait_mounts(lambda: volume.is_mounted and volume.pids()[1] != child)  # noqa: B023
    assert sorted(took_s)[1] < 1.0, took_s
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        os.write(held, b"lost")
    os.close(held)
    volume.stop()


def can_be_read(path: Path) -> bool:
    try:
        return path.read_text() == "content"
    except OSError:
        return False


def test_a_mount_that_stands_still_can_be_unmounted(volume: Mounted) -> None:
    volume.prelude = "from csfs.mount import supervisor; supervisor.END_S_MAX = supervisor.KILL_S = 0.2"
    volume.start()
    (volume.path / "file").write_text("content")  # the kernel has to ask for the attributes of the directory now
    pids = volume.pids()
    os.kill(pids[1], signal.SIGSTOP)
    volume.stop(lazy=True)
    assert not volume.is_mounted
    assert all(map(has_ended, pids))
    assert (volume.path / "file").read_text() == "content"


def test_a_volume_that_csfs_itself_runs_from_is_refused(volume: Mounted) -> None:
    for path in (sys.prefix, os.path.dirname(csfs.__file__)):
        with pytest.raises(ConfigError, match="csfs itself runs from"):
            checks.check(volume.settings_with(path=os.path.realpath(path)), MountOptions())


def test_a_mount_process_that_waits_for_its_disk_is_left_alone(volume: Mounted) -> None:
    volume.prelude = IMPATIENT
    with disk(volume.base / "image", volume.path) as small:
        volume.start()
        pids = volume.pids()
        with small.hanging():
            writer = in_background(lambda: (volume.path / "file").write_text("content"))
            while "waits for the storage underneath" not in volume.log:
                assert writer.is_alive()
        writer.join()
        assert volume.pids() == pids
        assert (volume.path / "file").read_text() == "content"
        volume.stop()


def test_a_connection_that_somebody_aborts_is_made_anew(volume: Mounted) -> None:
    volume.start()
    (volume.path / "file").write_text("content")
    _, child = volume.pids()
    control = Path("/sys/fs/fuse/connections")
    if not any(control.iterdir()) and subprocess.run(["mount", "-t", "fusectl", "fusectl", control]).returncode:
        pytest.skip("there is no fusectl file system here")
    mount = mountinfo.top_at(mountinfo.current(), str(volume.path))
    assert mount is not None
    (control / mount.device.split(":")[1] / "abort").write_text("1")
    wait_mounts(lambda: volume.is_mounted and volume.pids()[1] != child)
    assert (volume.path / "file").read_text() == "content"
    volume.stop()


@pytest.fixture
def may_spare() -> None:
    """Skip where even root may not have itself spared."""
    lower = "import os; os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')"
    if subprocess.run([sys.executable, "-c", lower], capture_output=True, check=False).returncode:
        pytest.skip("no CAP_SYS_RESOURCE here")


def test_the_out_of_memory_killer_takes_others_first(may_spare: None, mounted: Mounted) -> None:
    scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in mounted.pids()]
    assert scores == [memory.PARENT, memory.MOUNT]


def test_the_mount_stays_in_memory_and_has_descriptors_enough(mounted: Mounted) -> None:
    _, child = mounted.pids()
    status = Path(f"/proc/{child}/status").read_text()
    locked = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmLck:"))
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    assert locked >= resident // 2
    limits = Path(f"/proc/{child}/limits").read_text()
    soft, hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]
    assert soft == hard
    assert int(soft) >= 1024


@pytest.mark.parametrize(
    "way", ["os.chmod('.', 0o700)", "os.setxattr('.', 'user.x', b'')", "os.lseek(os.open('file', 0), 0, os.SEEK_HOLE)"]
)
def test_an_errno_that_the_kernel_does_not_take_leaves_nobody_waiting(volume: Mounted, way: str) -> None:
    (volume.path / "file").touch()
    volume.prelude = UNTELLABLE
    volume.start()
    asking = subprocess.Popen([sys.executable, "-c", f"import os\n{way}"], cwd=volume.path, stderr=subprocess.PIPE)
    try:
        said = asking.communicate(timeout=10)[1]
    except subprocess.TimeoutExpired:
        os.kill(volume.pids()[1], signal.SIGKILL)  # who waits for ever cannot be killed himself
        asking.communicate()
        raise
    volume.stop()
    assert f"Errno {errno.EIO}".encode() in said
