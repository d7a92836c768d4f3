"""A receiver whose disk is full: what fits goes on, what does not is told and made good once there is room."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from scripts.support.members import Member, cluster_of, free_port, replicating, until
from tests.cluster.conftest import expect_calm_logs
from tests.trees import differences

DISK_SIZE = 8 << 20
LARGER_SIZE = 24 << 20
HEALED_S_MAX = 60.0


@pytest.fixture
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members; the tree of the second is a small disk."""
    base = tmp_path_factory.mktemp("members")
    alpha, beta = (Member(base, name, free_port()) for name in ("alpha", "beta"))
    beta.tree.mkdir(parents=True)
    options = f"size={DISK_SIZE},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "csfs-disk", beta.tree], check=True)
    try:
        with cluster_of(alpha, beta):
            yield alpha, beta
            expect_calm_logs(alpha, beta)
    finally:
        subprocess.run(["umount", "-l", beta.tree], capture_output=True, check=False)


def make_room(member: Member) -> None:
    """Give the member's disk more room, as an administrator does with a logical volume."""
    # The disk is beneath the mount: it is reached by a descriptor that was opened before.
    options = f"remount,size={LARGER_SIZE}"
    subprocess.run(["mount", "-o", options, f"{member.underneath}"], check=True)


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


def test_a_file_that_does_not_fit_holds_up_nothing_else_and_arrives_once_there_is_room(
    members: tuple[Member, Member],
) -> None:
    alpha, beta = members
    (alpha.tree / "fits").write_bytes(os.urandom(DISK_SIZE // 4))
    (alpha.tree / "etc").mkdir()
    alpha.wait()
    huge = os.urandom(DISK_SIZE + DISK_SIZE // 4)
    (alpha.tree / "huge").write_bytes(huge)
    until(lambda: "No space left" in problems(beta).get("/huge", ""), "beta tells what does not fit")
    for number in range(50):
        (alpha.tree / "etc" / f"conf{number}").write_text(f"small {number}\n" * 50)
    os.chmod(alpha.tree / "etc" / "conf0", 0o600)
    os.rename(alpha.tree / "etc" / "conf1", alpha.tree / "etc" / "renamed")
    os.unlink(alpha.tree / "etc" / "conf2")
    os.symlink("conf3", alpha.tree / "etc" / "link")
    alpha.wait()
    assert differences(str(alpha.tree / "etc"), str(beta.tree / "etc")) == []
    assert list(problems(beta)) == ["/huge"]
    (beta.tree / "etc" / "by beta").write_text("the other way round")
    until(lambda: (alpha.tree / "etc" / "by beta").read_text() == "the other way round", "alpha has what beta wrote")
    assert beta.csfs("status", check=False).returncode == 1
    make_room(beta)
    until(lambda: (beta.tree / "huge").exists(), "beta has it all the same", HEALED_S_MAX)
    expect_equal(alpha, beta)
    assert (beta.tree / "huge").read_bytes() == huge
