"""A receiver whose disk is full: what fits goes on, what does not is told and made good once there is room."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import Member, cluster_of, free_port, until
from tests.cluster.conftest import expect_calm_logs
from tests.trees import differences

DISK_SIZE = 8 << 20
VERSION_SIZE = 3 << 19
LARGER_SIZE = 24 << 20
HEALED_S_MAX = 60.0


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members; the tree of the second is a small disk."""
    base = tmp_path_factory.mktemp("members")
    alpha, beta = (Member(base, name, free_port()) for name in ("alpha", "beta"))
    disk = beta.directory / "disk"
    for directory in (disk, beta.tree):
        directory.mkdir(parents=True)
    # Bound, so that it can be had beside the mount of csfs, which lies over it.
    mount("-t", "tmpfs", "-o", f"size={DISK_SIZE},mode=755", "csfs-disk", disk)
    try:
        mount("--bind", disk, beta.tree)
        with cluster_of(alpha, beta):
            yield alpha, beta
            expect_calm_logs(alpha, beta)
    finally:
        for directory in (beta.tree, disk):
            subprocess.run(["umount", "-l", directory], capture_output=True, check=False)
        shutil.rmtree(base, ignore_errors=True)


def mount(*arguments: str | Path) -> None:
    """Run mount(8)."""
    subprocess.run(["mount", *arguments], check=True, capture_output=True, timeout=20)


def make_room(member: Member) -> None:
    """Give the member's disk more room, as an administrator does with a logical volume."""
    mount("-o", f"remount,size={LARGER_SIZE}", member.directory / "disk")


def problems(member: Member) -> dict[str, str]:
    """Return the reasons of a member's problems by path."""
    return {problem["path"]: problem["reason"] for problem in member.volume()["problems"]}


def expect_equal(alpha: Member, beta: Member) -> None:
    """Nothing differs, and nobody complains."""
    alpha.wait()
    beta.wait()
    assert differences(str(alpha.tree), str(beta.tree)) == []
    assert problems(beta) == {}
    assert beta.volume()["pending"] == 0


def fill(member: Member) -> Path:
    """Take the last room of the member's disk, where csfs looks for nothing; return the file that has it."""
    filler = member.underneath / ".csfs" / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_on_a_disk_without_any_room_what_needs_none_goes_on(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    for name in ("mode", "removed"):
        (alpha.tree / name).write_text(name)
    alpha.wait()
    filler = fill(beta)
    (alpha.tree / "small").write_text("needs some room\n" * 500)
    until(lambda: "No space left" in problems(beta).get("small", ""), "beta tells what does not fit")
    os.chmod(alpha.tree / "mode", 0o600)
    os.unlink(alpha.tree / "removed")
    until(lambda: (beta.tree / "mode").stat().st_mode & 0o7777 == 0o600, "the mode is set")
    until(lambda: not (beta.tree / "removed").exists(), "the file is removed")
    assert list(problems(beta)) == ["small"]
    filler.unlink()
    until(lambda: (beta.tree / "small").exists(), "beta has it all the same", HEALED_S_MAX)
    expect_equal(alpha, beta)


def test_versions_that_nobody_disputes_make_room_for_what_is_new(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    for number in range(2 * DISK_SIZE // VERSION_SIZE):
        content = bytes([number]) + os.urandom(VERSION_SIZE)
        (alpha.tree / "often").write_bytes(content)
        until(lambda: (beta.tree / "often").read_bytes() == content, "beta has this version", HEALED_S_MAX)  # noqa: B023
    expect_equal(alpha, beta)
    assert list((beta.underneath / ".csfs" / "kept").iterdir())


def test_what_did_not_fit_and_is_not_wanted_any_more_is_no_problem(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    (alpha.tree / "passing").write_bytes(os.urandom(DISK_SIZE))
    until(lambda: "No space left" in problems(beta).get("passing", ""), "beta tells what does not fit")
    (alpha.tree / "passing").unlink()
    until(lambda: not problems(beta), "it is forgotten")
    expect_equal(alpha, beta)


def test_a_file_that_does_not_fit_holds_up_nothing_else_and_arrives_once_there_is_room(
    members: tuple[Member, Member],
) -> None:
    alpha, beta = members
    (alpha.tree / "fits").write_bytes(os.urandom(DISK_SIZE // 4))
    (alpha.tree / "etc").mkdir()
    alpha.wait()
    huge = os.urandom(DISK_SIZE + DISK_SIZE // 4)
    (alpha.tree / "huge").write_bytes(huge)
    until(lambda: "No space left" in problems(beta).get("huge", ""), "beta tells what does not fit")
    for number in range(50):
        (alpha.tree / "etc" / f"conf{number}").write_text(f"small {number}\n" * 50)
    os.chmod(alpha.tree / "etc" / "conf0", 0o600)
    os.rename(alpha.tree / "etc" / "conf1", alpha.tree / "etc" / "renamed")
    os.unlink(alpha.tree / "etc" / "conf2")
    os.symlink("conf3", alpha.tree / "etc" / "link")
    alpha.wait()
    assert differences(str(alpha.tree / "etc"), str(beta.tree / "etc")) == []
    assert list(problems(beta)) == ["huge"]
    (beta.tree / "etc" / "by beta").write_text("the other way round")
    until(lambda: (alpha.tree / "etc" / "by beta").read_text() == "the other way round", "alpha has what beta wrote")
    assert beta.csfs("status", check=False).returncode == 1
    make_room(beta)
    until(lambda: (beta.tree / "huge").exists(), "beta has it all the same", HEALED_S_MAX)
    expect_equal(alpha, beta)
    assert (beta.tree / "huge").read_bytes() == huge


@pytest.mark.parametrize("apart", [False, True], ids=["with the file", "of a file that is there"])
def test_what_a_file_system_refuses_is_listed_until_it_is_replaced(members: tuple[Member, Member], apart: bool) -> None:
    alpha, beta = members
    value, name = b"a" * 20_000, "user.large"  # more than ext4 takes
    try:
        os.setxattr(alpha.directory, name, value)
        pytest.skip("the file system of the first member takes as large attributes as the other's")
    except OSError:
        pass
    try:
        (beta.tree / "attributed").write_bytes(b"content")
        if apart:
            beta.wait()
        os.setxattr(beta.tree / "attributed", name, value)
    except OSError:
        pytest.skip("no such attributes on the second member's file system")
    beta.wait()
    assert (alpha.tree / "attributed").read_bytes() == b"content"
    until(lambda: bool(alpha.volume()["unrepresented"]), "what was refused is listed")
    (listed,) = alpha.volume()["unrepresented"]
    assert listed["path"] == "attributed"
    assert name in listed["reason"]
    assert name in alpha.csfs("status", check=False).stdout
    os.removexattr(beta.tree / "attributed", name)
    beta.wait()
    (beta.tree / "attributed").unlink()
    beta.wait()
    assert alpha.volume()["unrepresented"] == []
