"""Starting, ending, and what happens when one of the processes dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from csfs.mount import syscalls
from csfs.mount.supervisor import END_S_MAX
from scripts.support.members import until
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, has_ended, in_background, wait_ended, wait_mounts

pytestmark = pytest.mark.mount


def test_mount_returns_when_it_serves_and_umount_when_all_has_ended(volume: Mounted) -> None:
    (volume.path / "before").write_text("x")
    volume.start()
    assert volume.is_mounted
    assert (volume.path / "before").read_text() == "x"
    (volume.path / "after").write_text("y")
    pids = volume.pids()
    volume.stop()
    assert not volume.is_mounted
    assert (volume.path / "after").read_text() == "y"
    assert all(map(has_ended, pids))
    assert list(volume.run.iterdir()) == []


def test_a_mount_right_after_an_unmount_waits_for_the_processes_that_were(mounted: Mounted) -> None:
    before = mounted.pids()
    os.kill(before[0], signal.SIGSTOP)  # it does not notice at once
    syscalls.umount(os.fsencode(mounted.path))
    mounting = subprocess.Popen([sys.executable, *mounted.line("start")], stderr=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        mounting.wait(0.5)
    os.kill(before[0], signal.SIGCONT)
    assert (mounting.communicate(timeout=30), mounting.returncode) == ((None, b""), 0)
    assert mounted.is_mounted
    assert set(mounted.pids()) & set(before) == set()


def test_a_second_mount_of_the_same_volume_is_refused(mounted: Mounted) -> None:
    assert "already" in mounted.command("start")
    assert mounted.is_mounted


def test_a_directory_that_does_not_exist_is_named(volume: Mounted) -> None:
    volume.path.rmdir()
    assert volume.command("start") == f"ConfigError: {volume.path} does not exist; make it: mkdir -p {volume.path}"
    assert list(volume.run.iterdir()) == []


def test_a_file_is_no_mount_point(volume: Mounted) -> None:
    volume.path.rmdir()
    volume.path.touch()
    assert "is not a directory" in volume.command("start")


def test_a_journal_inside_the_volume_is_refused(tmp_path: Path) -> None:
    volume = Mounted(tmp_path)
    volume.lib = volume.path
    volume.settings = volume.settings_with(journal=str(volume.path / "journal.db"))
    assert "lies inside the volume" in volume.command("start")
    volume.clear_away()


def test_a_volume_inside_another_one_is_refused(mounted: Mounted) -> None:
    inner = mounted.base / "inner"
    inner.mkdir()
    other = Mounted(inner)
    other.path = mounted.path / "d"
    other.path.mkdir()
    other.settings = other.settings_with(path=str(other.path))
    assert "another csfs volume" in other.command("start")
    os.close(other.underneath)


def test_an_option_the_kernel_refuses_leaves_nothing_behind(volume: Mounted) -> None:
    assert "cannot be mounted" in volume.command("start", options=["context=no_such_label"])
    assert not volume.is_mounted
    assert list(volume.run.iterdir()) == []
    volume.start()


def test_umount_names_the_programs_that_hold_the_volume(mounted: Mounted) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=mounted.path) as holder:
        answer = mounted.command("stop")
        holder.kill()
    assert answer.startswith("FoundError")
    assert f"sleep ({holder.pid})" in answer
    assert mounted.is_mounted


def test_umount_of_what_is_not_mounted_says_so(volume: Mounted) -> None:
    assert "is not mounted by csfs" in volume.command("stop")


def test_after_the_mount_process_is_killed_the_volume_is_mounted_again(volume: Mounted, daemon: FakeDaemon) -> None:
    volume.start()
    first = daemon.parent_hellos.get(timeout=10)
    assert daemon.mount_hellos.get(timeout=10).clean
    (volume.path / "file").write_text("x")
    os.kill(first.mount_pid, signal.SIGKILL)
    second = daemon.parent_hellos.get(timeout=10)
    assert (second.generation, second.parent_pid) == (first.generation + 1, first.parent_pid)
    assert second.mount_pid != first.mount_pid
    assert volume.pids() == (second.parent_pid, second.mount_pid)
    assert not daemon.mount_hellos.get(timeout=10).clean
    assert (volume.path / "file").read_text() == "x"
    volume.stop()


def test_after_the_parent_is_killed_the_mount_serves_on_and_can_be_unmounted(volume: Mounted) -> None:
    volume.start()
    parent, child = volume.pids()
    os.kill(parent, signal.SIGKILL)
    wait_ended(parent)
    (volume.path / "file").write_text("x")
    assert volume.is_mounted
    volume.stop()
    wait_ended(child)
    assert (volume.path / "file").read_text() == "x"


def test_a_mount_whose_processes_were_all_killed_is_cleared_away_by_the_next(volume: Mounted) -> None:
    volume.start()
    volume.path.stat()  # which the kernel answers for hours, whether or not anybody is there
    for pid in volume.pids():
        os.kill(pid, signal.SIGKILL)
        wait_ended(pid)
    with pytest.raises(OSError):
        os.listdir(volume.path)
    volume.start()
    assert os.listdir(volume.path) == []
    volume.stop()


def test_the_host_may_unmount_by_itself_while_the_daemon_holds_the_clone(volume: Mounted, daemon: FakeDaemon) -> None:
    volume.start()
    daemon.wait_connected()
    pids = volume.pids()
    subprocess.run(["umount", volume.path], check=True)
    wait_ended(*pids)
    assert daemon.clone == -1


def test_an_umount_says_whose_mount_namespace_still_has_the_volume(mounted: Mounted) -> None:
    # Where mounts are private, as in a container, an unmount on the host is not one in other namespaces.
    line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 60"]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        ending = in_background(mounted.stop)
        said = f"still held in the mount namespace of sleep ({other.pid})"
        until(lambda: said in mounted.log, "it is said who holds it", END_S_MAX / 2)
        other.kill()
    ending.join(END_S_MAX / 2)
    assert not ending.is_alive(), "nobody holds it any more"


def test_sigterm_to_the_parent_unmounts_even_a_busy_volume(mounted: Mounted) -> None:
    parent, _ = mounted.pids()
    with subprocess.Popen(["sleep", "60"], cwd=mounted.path) as holder:
        os.kill(parent, signal.SIGTERM)
        wait_mounts(lambda: not mounted.is_mounted)
        holder.kill()
    wait_ended(parent)


def test_the_foreground_returns_after_the_umount(volume: Mounted) -> None:
    foreground = subprocess.Popen([sys.executable, *volume.line("start", foreground=True)], stderr=subprocess.PIPE)
    wait_mounts(lambda: volume.is_mounted)
    volume.stop()
    assert foreground.wait(10) == 0
    assert foreground.stderr is not None
    foreground.stderr.close()


def test_the_daemon_may_come_and_go(volume: Mounted) -> None:
    volume.start()
    (volume.path / "a").write_text("x")
    for _ in range(2):
        daemon = FakeDaemon(volume.settings.control_socket)
        hello = daemon.wait_connected()
        assert hello.clean
        (volume.path / "a").write_text("y")
        assert daemon.flushed()
        daemon.close()
    assert (volume.path / "a").read_text() == "y"
    volume.stop()


def test_a_daemon_that_talks_nonsense_is_dropped_and_tried_again(volume: Mounted, daemon: FakeDaemon) -> None:
    volume.start()
    daemon.wait_connected()
    daemon.send_raw(b"\0\0\0\3abc")
    daemon.mount_hellos.get(timeout=10)
    daemon.send_raw(b"\xff" * 16)
    daemon.mount_hellos.get(timeout=10)
    (volume.path / "a").write_text("y")
    assert daemon.flushed()
    volume.stop()


def test_a_damaged_journal_is_moved_aside_and_the_volume_compared(volume: Mounted, daemon: FakeDaemon) -> None:
    Path(volume.settings.journal).write_bytes(b"not a database at all, not in the least" * 100)
    volume.start()
    assert not daemon.wait_connected().clean
    (volume.path / "a").write_text("y")
    assert daemon.flushed()
    assert any(".damaged-" in name for name in os.listdir(volume.lib))
    volume.stop()


def test_something_mounted_on_top_does_not_end_the_volume(mounted: Mounted) -> None:
    parent, child = mounted.pids()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted.path], check=True)
    subprocess.run(["umount", mounted.path], check=True)
    assert mounted.is_mounted
    (mounted.path / "file").write_text("x")
    assert not has_ended(parent)
    assert not has_ended(child)
