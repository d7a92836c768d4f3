"""A member whose mount is read-only: its programs cannot write, what the others write arrives."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.mount import mountinfo
from scripts.support.members import Member, replicating, two_members
from tests.cluster.conftest import expect_calm_logs


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    with two_members(tmp_path_factory.mktemp("members") / "m") as (alpha, beta):
        beta.umount()
        beta.csfs("mount", "-o", "ro,nosuid", str(beta.tree))
        replicating(alpha, beta)
        yield alpha, beta
        expect_calm_logs(alpha, beta)


def options_of(member: Member) -> set[str]:
    mount = mountinfo.top_at(mountinfo.current(), str(member.tree))
    assert mount is not None
    assert mount.type == mountinfo.TYPE
    return set(mount.options.split(","))


def expect_refused(path: Path) -> None:
    with pytest.raises(OSError) as refused:
        path.write_text("x")
    assert refused.value.errno == errno.EROFS


def test_what_others_write_arrives_where_nobody_may_write(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    expect_refused(beta.tree / "own")
    (alpha.tree / "d").mkdir()
    (alpha.tree / "d/file").write_text("from alpha")
    alpha.wait()
    assert (beta.tree / "d/file").read_text() == "from alpha"
    assert {"ro", "nosuid"} <= options_of(beta)


def test_a_mount_that_died_comes_back_as_it_was(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    beta.csfs("mount", "-o", "remount,noexec", str(beta.tree))
    beta.kill_mount()
    replicating(alpha, beta)
    assert {"ro", "nosuid", "noexec"} <= options_of(beta)
    expect_refused(beta.tree / "own")
    (alpha.tree / "after").write_text("from alpha")
    alpha.wait()
    assert (beta.tree / "after").read_text() == "from alpha"


def test_a_daemon_that_comes_later_can_write_too(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    beta.stop_daemon()
    beta.start_daemon()
    replicating(alpha, beta)
    (alpha.tree / "later").write_text("from alpha")
    alpha.wait()
    assert (beta.tree / "later").read_text() == "from alpha"
    beta.csfs("mount", "-o", "remount,rw", str(beta.tree))
    (beta.tree / "own").write_text("from beta")
    beta.wait()
    assert (alpha.tree / "own").read_text() == "from beta"
