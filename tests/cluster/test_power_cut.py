"""A disk as a power cut leaves it: what somebody had synced is sent, what is damaged is put right by the peers, and kept."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec
import pytest

from csfs.core.rows import Standing
from csfs.errors import ExitCode
from scripts.support.members import VOLUME, Member, cluster_of, free_port, kill, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_versions import told

IMAGE_SIZE = 96 << 20
HOLD = 'mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id && mount --bind "$1/stat" /proc/stat && echo && read -r _'


class Machine:
    """A member on a disk of its own, and what the disk holds at one moment."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.image, self.snapshot = base / "image", base / "snapshot"
        self.member = Member(base, "alpha", free_port())
        self.root = Path("/")
        """The file system as its processes see it."""

    @property
    def tree(self) -> Path:
        """The tree as programs on this machine see it."""
        return self.root / self.member.tree.relative_to("/")

    def attached(self) -> "subprocess.CompletedProcess[bytes]":
        """Mount the disk."""
        line = ["mount", "-o", "loop", str(self.image), str(self.member.directory)]
        return subprocess.run(line, capture_output=True, check=False)

    def cut(self) -> None:
        """Take the power away."""
        member = self.member
        for pid in (member.parent_pid, member.mount_pid, member.daemon_pid):
            kill(pid, 9)
        # What is in the image by now is on the disk, and nothing else; nobody writes there while it is copied.
        subprocess.run(["cp", "--sparse=always", self.image, self.snapshot], check=True)
        member.stop()
        subprocess.run(["umount", "-l", member.directory], check=True)

    @contextlib.contextmanager
    def booted(self) -> Iterator[None]:
        """Boot with what the disk had: another boot id, and everything on the disk is older than this boot."""
        # A new file, which another disk is made from: some other mount's namespace may still have the old one.
        os.replace(self.snapshot, self.image)
        assert self.attached().returncode == 0
        booted_s = _next_second()
        (self.base / "boot_id").write_text("0b007000-0000-4000-8000-000000000002\n")
        lines = Path("/proc/stat").read_text().splitlines()
        text = "\n".join(f"btime {booted_s}" if line.startswith("btime") else line for line in lines)
        (self.base / "stat").write_text(text + "\n")
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, "sh", str(self.base)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"\n", "nothing can be mounted over /proc here"
            port = int(self.member.address.rpartition(":")[2])
            prefix = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt")
            self.member = Member(self.base, "alpha", port, prefix)
            self.root = Path(f"/proc/{holder.pid}/root")
            try:
                self.member.mount()
                yield
            finally:
                self.member.stop()
                holder.stdin.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Member]]:
    """A machine that will lose its power, and a member that will not."""
    machine = Machine(tmp_path)
    beta = Member(tmp_path, "beta", free_port())
    machine.member.directory.mkdir(parents=True)
    with machine.image.open("wb") as file:
        file.truncate(IMAGE_SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(machine.image)], check=True)
    if machine.attached().returncode != 0:
        pytest.skip("a disk of its own cannot be mounted here")
    try:
        with cluster_of(machine.member, beta, clear=False):
            yield machine, beta
            expect_calm_logs(machine.member, beta)
    finally:
        subprocess.run(["umount", "-l", machine.member.directory], capture_output=True, check=False)
        shutil.rmtree(beta.directory, ignore_errors=True)


def synced(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _next_second() -> int:
    """Return the second that has just begun: what was done before this call was done before it."""
    before_s = int(time.time())
    until(lambda: int(time.time()) > before_s, "a second has passed")
    return before_s + 1


def settled(machine: Machine) -> None:
    volume = machine.member.volume
    until(lambda: volume()["state"] == "replicating" and machine.member.peer()["connected"], "alpha replicates", 60)
    until(lambda: not volume()["pending"], "everything is put right", 60)


def is_vouched_for(member: Member) -> bool:
    """Return whether the other one is noted to know all that is known here: whoever has lost his memory goes by that."""
    with contextlib.closing(apsw.Connection(str(member.home.index(VOLUME)), flags=apsw.SQLITE_OPEN_READONLY)) as index:
        known = {(scope, life): counter for scope, life, counter in index.execute("SELECT * FROM knowledge")}
        ((encoded,),) = index.execute("SELECT standings FROM peers").fetchall()
    standings = msgspec.msgpack.decode(encoded, type=dict[bytes, Standing])
    heard = {(scope, life): counter for scope, one in standings.items() for life, counter in one.known.items()}
    return known.items() <= heard.items()


def test_what_a_power_cut_damaged_is_put_right_and_what_was_synced_is_sent(machines: tuple[Machine, Member]) -> None:
    machine, beta = machines
    alpha, tree = machine.member, machine.tree
    for name in ("torn", "gone", "kept", "removed"):
        (tree / name).write_text(f"{name}, of before\n")
    alpha.wait()
    until(lambda: is_vouched_for(alpha), "beta has said that it has them")
    os.sync()
    alpha.ask("wait", path=None, peers=[], timeout=30)
    (tree / "new").write_text("new, in memory alone\n")
    (tree / "torn").write_text("torn, in memory alone\n" * 100)
    alpha.wait()
    beta.stop_daemon()
    (tree / "removed").unlink()
    synced(tree / "kept", "kept, synced and heard of by nobody\n")
    machine.cut()
    with machine.booted():
        assert (machine.tree / "kept").read_text() == "kept, synced and heard of by nobody\n"
        beta.start_daemon()
        settled(machine)
        for member in (alpha, beta):
            member.wait()
        texts = {name: (machine.tree / name).read_text() for name in sorted(os.listdir(machine.tree)) if name[0] != "."}
        assert texts == {name: (beta.tree / name).read_text() for name in sorted(os.listdir(beta.tree))}
        assert texts == {
            "gone": "gone, of before\n",
            "kept": "kept, synced and heard of by nobody\n",
            "new": "new, in memory alone\n",
            "torn": "torn, in memory alone\n" * 100,
        }
        assert not machine.member.volume()["alarms"]


def test_what_nobody_else_has_stays_is_not_sent_and_is_taken_as_it_is(machines: tuple[Machine, Member]) -> None:
    machine, beta = machines
    alpha = machine.member
    alpha.wait()
    beta.stop_daemon()
    os.sync()
    (machine.tree / "alone").write_text("alone, in memory\n")
    (machine.tree / "other").write_text("other, in memory\n")
    until(lambda: alpha.volume()["paths"] >= 3, "both are recorded")
    synced(machine.tree / "synced", "this has the names on the disk\n")
    machine.cut()
    with machine.booted():
        found = (machine.tree / "alone").read_text()
        beta.start_daemon()
        until(lambda: (beta.tree / "synced").exists(), "what was synced is sent")
        machine.member.wait()
        assert not (beta.tree / "alone").exists()
        assert "csfs approve" in str(machine.member.volume()["alarms"])
        suspects = told(machine.member, "approve", code=ExitCode.FOUND)["suspects"]
        assert {os.path.basename(one["path"]) for one in suspects} == {"alone", "other"}
        done = machine.member.csfs("approve", str(machine.member.tree / "alone"), "--json")
        assert '"errors": []' in done.stdout
        until(lambda: (beta.tree / "alone").exists(), "it was taken as it is")
        assert (beta.tree / "alone").read_text() == found
        (machine.tree / "other").write_text("written anew\n")
        until(lambda: (beta.tree / "other").read_text() == "written anew\n", "a program's write is a change")
        assert not machine.member.volume()["alarms"]


def test_a_host_that_was_shut_down_has_damaged_nothing(machines: tuple[Machine, Member]) -> None:
    machine, beta = machines
    alpha = machine.member
    alpha.wait()
    beta.stop_daemon()
    (machine.tree / "file").write_text("written before the shutdown\n")
    alpha.umount()
    alpha.stop_daemon()
    os.sync()
    (alpha.directory / "tree" / "later").write_text("without csfs\n")
    os.sync()
    machine.member = alpha
    subprocess.run(["cp", "--sparse=always", machine.image, machine.snapshot], check=True)
    alpha.stop()
    subprocess.run(["umount", alpha.directory], check=True)
    with machine.booted():
        beta.start_daemon()
        until(lambda: (beta.tree / "file").exists() and (beta.tree / "later").exists(), "both are sent")
        assert not machine.member.volume()["alarms"]
