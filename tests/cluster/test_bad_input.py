"""What is wrong is said in one line that names the culprit and the cure, with its exit code, and nothing half-made is left behind."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csfs.errors import ExitCode
from csfs.mount import mountinfo
from csfs.trust.invitations import Token, token_from
from scripts.support.members import VOLUME, Member, free_port, until

HIDDEN_DEVICE = "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9"
UNUSABLE_DEVICE = "mount --bind /dev/null /dev/fuse"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """A cluster of one."""
    member = Member(tmp_path_factory.mktemp("alone"), "alpha", free_port())
    member.found()
    yield member
    member.stop()


@pytest.fixture
def alone(founded: Member) -> Iterator[Member]:
    """A cluster of one, of which nothing runs; what a test does to its files is undone."""
    settings = founded.home.settings_file.read_text()
    yield founded
    if founded.is_mounted:
        founded.umount()
    if processes(founded):
        founded.stop_daemon()
    founded.home.settings_file.write_text(settings)


@pytest.fixture(scope="module")
def inviter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """A member whose daemon runs."""
    member = Member(tmp_path_factory.mktemp("inviter"), "alpha", free_port())
    member.found()
    member.start_daemon()
    yield member
    member.stop()


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Member]:
    """A host that is no member of anything."""
    member = Member(tmp_path, "beta", free_port())
    member.tree.mkdir(parents=True)
    yield member
    member.stop()


def expect_refusal(line: list[str], code: ExitCode, *words: str) -> None:
    """Run a command that must be refused, in one line with `words`."""
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("csfs: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr


def expect_refused(member: Member, code: ExitCode, arguments: list[str], *words: str) -> None:
    expect_refusal(member.command(*arguments), code, *words)


def processes(member: Member) -> list[str]:
    """Return the command lines of all processes of a member."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes().decode().replace("\0", " ")
        except OSError:
            continue
        if str(member.home.root) in line:
            found.append(line)
    return found


def expect_nothing_left(member: Member) -> None:
    """Nothing runs, nothing is mounted, and the directory is as it was."""
    assert processes(member) == []
    assert not [mount.path for mount in mountinfo.current() if mount.path.startswith(str(member.directory))]
    for name in (member.home.control_socket, member.home.mount_pid(VOLUME)):
        assert not name.exists()


# -------------------------------------------------------------------------------------------------------- configuration

BROKEN = {
    "no TOML": ('cluster = "csfs"', 'cluster = "csfs', "not TOML", "at line"),
    "a wrong type": ('cluster = "csfs"', "cluster = 3", "cluster: must be a string"),
    "an unknown key": ('cluster = "csfs"', 'cluster = "csfs"\nclutser = "x"', "clutser", "did you mean"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_configuration_is_named_and_nothing_is_started(alone: Member, what: str) -> None:
    right, wrong, *words = BROKEN[what]
    file = alone.home.settings_file
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, wrong))
    for arguments in (["mount", str(alone.tree)], ["daemon"]):
        expect_refused(alone, ExitCode.REFUSED, arguments, str(file), *words)
    expect_nothing_left(alone)


def test_everything_that_is_wrong_is_said_at_once(alone: Member) -> None:
    alone.home.settings_file.write_text("cluster = 3\n")
    done = alone.csfs("mount", str(alone.tree), check=False)
    assert (done.returncode, done.stdout) == (ExitCode.REFUSED, "")
    heading, *complaints = done.stderr.splitlines()
    assert heading == f"csfs: {alone.home.settings_file}: 2 complaints"
    assert [line.split(":")[0] for line in complaints] == ["  cluster", "  members"]
    expect_nothing_left(alone)


def test_a_daemon_that_runs_goes_on_with_what_it_has_when_the_file_breaks(inviter: Member) -> None:
    before = inviter.home.settings_file.read_text()
    try:
        inviter.home.settings_file.write_text(before.replace('cluster = "csfs"', "cluster = 3"))
        expect_refused(inviter, ExitCode.REFUSED, ["config", "reload"], "csfs.toml", "cluster")
        assert inviter.status()["cluster"] == "csfs"
    finally:
        inviter.home.settings_file.write_text(before)


# ----------------------------------------------------------------------------------------------------------------- port


def test_an_occupied_port_is_named_with_who_has_it(alone: Member) -> None:
    host, _, port = alone.address.rpartition(":")
    with socket.create_server((host, int(port))):
        words = (alone.address, str(os.getpid()), "stop it, or set another port in member.toml")
        expect_refused(alone, ExitCode.REFUSED, ["daemon"], *words)
        expect_nothing_left(alone)
        expect_refused(alone, ExitCode.NOT_RUNNING, ["mount", str(alone.tree)], "the daemon did not start", *words)
        expect_nothing_left(alone)
    alone.mount()
    assert alone.is_mounted


def test_a_second_daemon_is_refused(inviter: Member) -> None:
    expect_refused(inviter, ExitCode.FOUND, ["daemon"], "a daemon runs already", str(inviter.daemon_pid))
    assert inviter.status()["member"] == "alpha"


# ---------------------------------------------------------------------------------------------------------------- mount


@pytest.mark.parametrize(
    ("hiding", "words"),
    [(HIDDEN_DEVICE, ("/dev/fuse is missing", "modprobe fuse")), (UNUSABLE_DEVICE, ("/dev/fuse", "mknod"))],
    ids=["missing", "another device"],
)
def test_without_the_device_nothing_is_mounted_or_started(alone: Member, hiding: str, words: tuple[str, ...]) -> None:
    line = ["unshare", "--mount", "sh", "-c", f'{hiding} && exec "$@"', "sh", *alone.command("mount", str(alone.tree))]
    expect_refusal(line, ExitCode.REFUSED, *words)
    expect_nothing_left(alone)


def test_a_directory_that_is_not_there_is_not_made(alone: Member) -> None:
    aside = alone.tree.rename(alone.tree.with_name("aside"))
    command = ["mount", str(alone.tree)]
    expect_refused(alone, ExitCode.REFUSED, command, str(alone.tree), "does not exist", "mkdir")
    assert not alone.tree.exists()
    alone.tree.write_text("a file")
    expect_refused(alone, ExitCode.REFUSED, command, str(alone.tree), "is not a directory")
    expect_nothing_left(alone)
    alone.tree.unlink()
    aside.rename(alone.tree)


def test_a_read_only_file_system_is_named_as_long_as_it_is_there(alone: Member) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", alone.tree], check=True)
    try:
        done = alone.csfs("mount", str(alone.tree))
        said = "the directory underneath cannot be used: .csfs: Read-only file system"
        assert f"csfs: nothing is sent to other members: {said}\n" in done.stderr
        shown = alone.csfs("status", check=False)
        assert (shown.returncode, f"{VOLUME}: stopped: {said}\n" in shown.stdout) == (ExitCode.FOUND, True), (
            shown.stdout
        )
        expect_refused(alone, ExitCode.REFUSED, ["wait"], f"volume {VOLUME} stands still: {said}")
        alone.csfs("umount", str(alone.tree))
    finally:
        subprocess.run(["umount", alone.tree], check=True)
    assert alone.volume()["state"] == "not mounted"
    assert "nothing is sent" not in alone.csfs("mount", str(alone.tree)).stderr
    until(lambda: alone.volume()["state"] == "replicating", "it is all right now")


def test_who_is_not_root_is_told_so(alone: Member) -> None:
    alone.mount()
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    for line in (["umount", str(alone.tree)], ["daemon", "--stop"], ["mount", str(alone.tree)], ["relay"]):
        expect_refusal([*nobody, *alone.command(*line)], ExitCode.NOT_PERMITTED, "run csfs as root")
    assert alone.is_mounted
    assert alone.volume()["mounted"]


def test_a_directory_of_no_volume_is_refused(alone: Member, tmp_path: Path) -> None:
    expect_refused(alone, ExitCode.REFUSED, ["mount", str(tmp_path)], "no volume's directory", "csfs volume add")
    expect_refused(alone, ExitCode.REFUSED, ["umount", str(tmp_path)], "no volume's directory")
    expect_refused(alone, ExitCode.NOT_RUNNING, ["umount", str(alone.tree)], "is not mounted by csfs")
    expect_nothing_left(alone)


def test_a_second_mount_changes_nothing(alone: Member) -> None:
    alone.mount()
    before = processes(alone), alone.mount_pid
    expect_refused(
        alone, ExitCode.REFUSED, ["mount", str(alone.tree)], "mounted by csfs already", f"csfs umount {alone.tree}"
    )
    assert (processes(alone), alone.mount_pid) == before
    (alone.tree / "file").write_text("x")
    alone.umount()
    assert (alone.tree / "file").read_text() == "x"


def test_an_interrupted_mount_leaves_nothing(alone: Member) -> None:
    with subprocess.Popen(alone.command("mount", str(alone.tree)), stderr=subprocess.PIPE, text=True) as process:
        until(alone.home.mount_pid(VOLUME).exists, "it is under way")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == ("csfs: interrupted\n", 130)
    until(lambda: processes(alone) == [], "all of it has ended")
    expect_nothing_left(alone)
    assert "Traceback" not in alone.logs()


def test_a_wrong_option_is_refused_before_anything_is_mounted(alone: Member) -> None:
    line = ["mount", str(alone.tree), "-o"]
    expect_refused(alone, ExitCode.USAGE, [*line, "nonsense"], 'no mount option "nonsense"')
    expect_nothing_left(alone)
    expect_refused(alone, ExitCode.REFUSED, [*line, "context=no_such_label"], "with -o context=no_such_label")
    expect_nothing_left(alone)
    alone.mount()


# -------------------------------------------------------------------------------------------------------------- joining


def expect_no_member(guest: Member) -> None:
    assert processes(guest) == []
    for place in (guest.home.settings_file, guest.home.member_file, guest.home.keys):
        assert not place.exists()


def joining(guest: Member, inviter: Member, token: str) -> list[str]:
    return ["join", inviter.address, token, "--listen", guest.address, "--path", f"{VOLUME}={guest.tree}"]


def test_a_wrong_token_lets_nobody_in(inviter: Member, guest: Member) -> None:
    token = inviter.csfs("invite", "beta").stdout.strip()
    whole = token_from(token)
    guessed = Token(whole.authority_point, whole.member, bytes(32)).text()
    other_name = Token(whole.authority_point, "gamma", whole.secret).text()
    foreign = Token(bytes(reversed(whole.authority_point)), whole.member, whole.secret).text()
    for wrong, code, words in [
        ("nonsense", ExitCode.REFUSED, "not a whole token"),
        (token[:-1], ExitCode.REFUSED, "not a whole token"),
        (guessed, ExitCode.NOT_PERMITTED, "wrong, expired or replaced"),
        (other_name, ExitCode.NOT_PERMITTED, "wrong, expired or replaced"),
        (foreign, ExitCode.UNREACHABLE, "the token names another"),
    ]:
        expect_refused(guest, code, joining(guest, inviter, wrong), words)
        expect_no_member(guest)
    assert [peer["name"] for peer in inviter.status()["peers"]] == []
    inviter.csfs("invite", "beta", "--expires", "0.001")  # replaces the first
    expect_refused(
        guest, ExitCode.NOT_PERMITTED, joining(guest, inviter, token), "wrong, expired or replaced", "csfs invite"
    )
    expect_no_member(guest)


def test_nobody_at_the_address_is_said(inviter: Member, guest: Member) -> None:
    token = inviter.csfs("invite", "beta").stdout.strip()
    arguments = joining(guest, inviter, token)
    arguments[1] = guest.address
    expect_refused(guest, ExitCode.UNREACHABLE, arguments, guest.address, "refused")
    expect_no_member(guest)


def test_a_used_token_lets_nobody_else_in(inviter: Member, guest: Member, tmp_path: Path) -> None:
    token = inviter.csfs("invite", "delta").stdout.strip()
    second = Member(tmp_path, "second", free_port())
    second.tree.mkdir(parents=True)
    try:
        guest.csfs(*joining(guest, inviter, token))
        words = ("used already", "csfs invite delta")
        expect_refused(second, ExitCode.NOT_PERMITTED, joining(second, inviter, token), *words)
        expect_no_member(second)
    finally:
        second.stop()
    assert [peer["name"] for peer in inviter.status()["peers"]] == ["delta"]
    expect_refused(inviter, ExitCode.REFUSED, ["invite", "delta"], "is a member already")


# ---------------------------------------------------------------------------------------------------------- certificates


def test_a_peer_of_another_cluster_is_neither_believed_nor_let_in(inviter: Member, tmp_path: Path) -> None:
    stranger = Member(tmp_path, "epsilon", free_port())
    member = Member(tmp_path / "ours", "epsilon", int(stranger.address.rpartition(":")[2]))
    stranger.found()
    try:
        member.join(inviter)
        member.stop_daemon()
        stranger.start_daemon()  # at the address where the member is expected
        said = "its certificate is not of this cluster"
        until(lambda: said in _peer(inviter, "epsilon")["error"], "the stranger is not believed")
        assert not _peer(inviter, "epsilon")["connected"]
        until(lambda: "refused a connection from 127.0.0.1" in stranger.logs(), "the stranger says whom it refused")
        assert "not of its cluster" in stranger.logs()
        assert "Traceback" not in stranger.logs() + inviter.logs()
        assert stranger.status()["peers"] == []
    finally:
        member.stop()
        stranger.stop()


def _peer(member: Member, name: str) -> dict[str, Any]:
    return next(peer for peer in member.status()["peers"] if peer["name"] == name)
