"""What a group says of attributes, sockets, devices and owners, between real members."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import VOLUME, Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs

Pair = tuple[Member, Member]
NULL = os.makedev(1, 3)

GROUPS = f"""
[[volumes.{VOLUME}.groups]]
include = ["/chosen"]
xattrs = ["user.kept*", "trusted.*"]
sockets = true
owners.beta = "4321:4322"
devices.beta = false

[[volumes.{VOLUME}.groups]]
include = ["/"]
"""


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two members with one group of which much is said, and the rest."""
    with two_members(tmp_path_factory.mktemp("members") / "m") as (alpha, beta):
        with alpha.home.settings_file.open("a") as settings:
            settings.write(GROUPS)
        alpha.csfs("config", "reload")
        until(lambda: "user.kept" in beta.home.settings_file.read_text(), "beta has the configuration")
        (alpha.tree / "chosen").mkdir()
        until(lambda: _arrived(alpha, beta) == (4321, 4322), "beta follows it")
        replicating(alpha, beta)
        yield alpha, beta
        expect_calm_logs(alpha, beta)


def _arrived(alpha: Member, beta: Member) -> tuple[int, int]:
    """Make a file anew at alpha, and return whose it is at beta."""
    (alpha.tree / "chosen/probe").unlink(missing_ok=True)
    alpha.wait()
    (alpha.tree / "chosen/probe").write_text("probe")
    alpha.wait()
    status = (beta.tree / "chosen/probe").stat()
    return status.st_uid, status.st_gid


def problem_of(member: Member, path: str) -> str:
    found = {problem["path"]: problem["reason"] for problem in member.volume()["problems"]}
    return str(found.get(path, ""))


def bound(directory: Path, name: str) -> None:
    """Make a socket, whose name may be longer than its address could be."""
    descriptor = os.open(directory, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{descriptor}/{name}")
    os.close(descriptor)


def test_attributes_that_are_left_out_are_neither_sent_nor_removed(members: Pair) -> None:
    alpha, beta = members
    ours, theirs = alpha.tree / "usual", beta.tree / "usual"
    ours.write_text("first")
    os.setxattr(ours, "trusted.own", b"alpha")
    os.setxattr(ours, "user.shared", b"1")
    alpha.wait()
    assert os.listxattr(theirs) == ["user.shared"]
    os.setxattr(theirs, "trusted.own", b"beta")
    beta.wait()
    ours.chmod(0o600)
    os.removexattr(ours, "user.shared")
    alpha.wait()
    assert os.listxattr(theirs) == ["trusted.own"]
    (alpha.tree / "new").write_text("replaces it as a whole")
    (alpha.tree / "new").rename(ours)
    alpha.wait()
    assert theirs.read_text() == "replaces it as a whole"
    assert os.getxattr(theirs, "trusted.own") == b"beta", "it is this host's own"


def test_attributes_that_are_chosen_are_sent(members: Pair) -> None:
    alpha, beta = members
    ours, theirs = alpha.tree / "chosen/f", beta.tree / "chosen/f"
    ours.write_text("x")
    for name in ("trusted.own", "user.kept-1", "user.other"):
        os.setxattr(ours, name, b"1")
    alpha.wait()
    assert sorted(os.listxattr(theirs)) == ["trusted.own", "user.kept-1"]


def test_sockets_are_left_alone_and_sent_where_the_group_says_so(members: Pair) -> None:
    alpha, beta = members
    bound(alpha.tree / "chosen", "socket")
    bound(alpha.tree, "socket")
    (alpha.tree / "after").write_text("after")
    alpha.wait()
    assert stat.S_ISSOCK((beta.tree / "chosen/socket").stat().st_mode)
    assert (beta.tree / "after").exists()
    assert not (beta.tree / "socket").exists()


def test_what_others_have_waits_for_a_socket_that_is_in_its_place(members: Pair) -> None:
    alpha, beta = members
    bound(beta.tree, "place")
    beta.wait()
    (alpha.tree / "place").write_text("a file")
    until(lambda: "socket is in its place" in problem_of(beta, "place"), "beta says what is in the way")
    assert stat.S_ISSOCK((beta.tree / "place").stat().st_mode)
    (beta.tree / "place").unlink()
    until(lambda: (beta.tree / "place").read_text() == "a file", "it comes when the socket is gone")
    until(lambda: problem_of(beta, "place") == "", "which beta has noted")
    (alpha.tree / "place").unlink()
    bound(alpha.tree, "place")
    alpha.wait()
    assert not (beta.tree / "place").exists(), "a socket in its place: the file is gone"


def test_devices_have_their_numbers_and_a_member_may_refuse_them(members: Pair) -> None:
    alpha, beta = members
    os.mknod(alpha.tree / "null", stat.S_IFCHR | 0o666, NULL)
    os.mknod(alpha.tree / "loop", stat.S_IFBLK | 0o600, os.makedev(7, 300))
    alpha.wait()
    assert (beta.tree / "null").stat().st_rdev == NULL
    assert (beta.tree / "loop").stat().st_rdev == os.makedev(7, 300)
    os.mknod(alpha.tree / "chosen/null", stat.S_IFCHR | 0o666, NULL)
    until(lambda: "leaves out" in problem_of(beta, "chosen/null"), "beta says that it refuses it")
    alpha.wait()
    assert not (beta.tree / "chosen/null").exists()
    assert (alpha.tree / "chosen/null").stat().st_rdev == NULL
    (alpha.tree / "chosen/null").unlink()
    alpha.wait()
    assert problem_of(beta, "chosen/null") == ""


def test_a_group_has_owners_of_its_own(members: Pair) -> None:
    alpha, beta = members
    (alpha.tree / "chosen/owned").write_text("x")
    (alpha.tree / "owned").write_text("x")
    os.chown(alpha.tree / "owned", 1, 1)
    alpha.wait()
    chosen, usual = (beta.tree / "chosen/owned").stat(), (beta.tree / "owned").stat()
    assert (chosen.st_uid, chosen.st_gid) == (4321, 4322)
    assert (usual.st_uid, usual.st_gid) == (1, 1)
    (beta.tree / "chosen/owned").chmod(0o600)
    beta.wait()
    assert (alpha.tree / "chosen/owned").stat().st_uid == 0
