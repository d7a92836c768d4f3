"""A file that is renamed at one member is renamed at the other, where nothing is against it: one commit, no copy, no kept version."""

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.wire.control import Action, Attributes, Commit, CommitResult, Move, Outcome
from tests.replicate.test_linking import Member, append, expect_equal, settle, two

DATA = "content\n" * 1000


async def sown(alpha: Member, beta: Member) -> int:
    """Have a file at both; return its inode at beta."""
    for member in (alpha, beta):
        (member.tree / "d/sub").mkdir()
    (alpha.tree / "d/a").write_text(DATA)
    (alpha.tree / "d/a").chmod(0o640)
    alpha.tell("d", "d/sub", "d/a")
    await settle(alpha, beta)
    await trio.sleep(0.05)
    await settle(alpha, beta)
    return (beta.tree / "d/a").stat().st_ino


def rename(member: Member, source: str, target: str) -> None:
    """A program renames something, and the mount tells of it."""
    os.rename(member.tree / source, member.tree / target)
    paths = RelPath(source.encode()), RelPath(target.encode())
    change = Change(sequence=0, kind=ChangeKind.RENAME, path=paths[0], target=paths[1])
    member.worker.observer.take_unjournalled([change])


async def test_what_was_touched_and_renamed_has_the_later_time(tmp_path: Path) -> None:
    """Some file systems keep a time in steps, and would show this one for the other: this one has shown it exactly."""
    async with two(tmp_path) as (alpha, beta):
        await sown(alpha, beta)
        before_ns = 1_700_000_000_000_000_100
        os.utime(alpha.tree / "d/a", ns=(before_ns, before_ns))
        alpha.tell("d/a")
        await settle(alpha, beta)
        assert (beta.tree / "d/a").stat().st_mtime_ns == before_ns
        os.utime(alpha.tree / "d/a", ns=(before_ns, before_ns + 50_000_007))
        rename(alpha, "d/a", "d/b")
        await settle(alpha, beta)
        assert (beta.tree / "d/b").stat().st_mtime_ns == before_ns + 50_000_007
        expect_equal(alpha, beta)


Commits = Sequence[Commit]
MakesThem = Callable[[Commits], Awaitable[list[CommitResult]]]


def at_a_rename(member: Member, act: Callable[[MakesThem, Commits], Awaitable[list[CommitResult]]]) -> list[Commit]:
    """Have `act` done instead of the first batch in which something is renamed; return all renames, as they come."""
    commit, renames = member.gate.commit, list[Commit]()

    async def watched(commits: Commits) -> list[CommitResult]:
        found = [one for one in commits if isinstance(one.action, Move)]
        is_first = bool(found) and not renames
        renames.extend(found)
        return await (act(commit, commits) if is_first else commit(commits))

    member.gate.commit = watched  # type: ignore[method-assign]
    return renames


def kept(member: Member) -> list[str]:
    return os.listdir(member.tree / ".csfs/kept")


@pytest.mark.parametrize("target", ["d/b", "d/sub/b"])
async def test_a_file_is_renamed_by_one_commit_and_stays_the_same_object(tmp_path: Path, target: str) -> None:
    async with two(tmp_path) as (alpha, beta):
        before = await sown(alpha, beta)
        commit, made = beta.gate.commit, list[Action]()

        async def watched(commits: Sequence[Commit]) -> object:
            made.extend(one.action for one in commits if not isinstance(one.action, Attributes))
            return await commit(commits)

        beta.gate.commit = watched  # type: ignore[method-assign, assignment]
        rename(alpha, "d/a", target)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (beta.tree / target).stat().st_ino == before
        assert len(made) == 1, "the times of directories are set apart"
        assert kept(beta) == []
        append(beta.tree / target, "edited")
        beta.tell(target)
        await settle(beta, alpha)
        expect_equal(alpha, beta)


Act = Callable[[Path], object]
OTHERWISE: dict[str, Act] = {
    "other bytes": lambda path: append(path, "more"),
    "another mode": lambda path: path.chmod(0o600),
    "an attribute": lambda path: os.setxattr(path, "user.new", b"1"),
    "another time": lambda path: os.utime(path, ns=(1, 1)),
}


@pytest.mark.parametrize("act", OTHERWISE)
async def test_what_looks_otherwise_there_is_built(tmp_path: Path, act: str) -> None:
    async with two(tmp_path) as (alpha, beta):
        before = await sown(alpha, beta)
        rename(alpha, "d/a", "d/b")
        OTHERWISE[act](alpha.tree / "d/b")
        alpha.tell("d/b")
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (beta.tree / "d/b").stat().st_ino != before


async def test_of_two_files_with_one_content_each_is_renamed_and_a_third_one_is_built(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await sown(alpha, beta)
        for name in ("x", "y"):
            (alpha.tree / "d" / name).write_text("the same")
            os.utime(alpha.tree / "d" / name, ns=(5, 5))
        alpha.tell("d/x", "d/y")
        await settle(alpha, beta)
        before = {(beta.tree / "d" / name).stat().st_ino for name in ("x", "y")}
        for name in ("x", "y"):
            os.rename(alpha.tree / "d" / name, alpha.tree / "d" / f"{name}2")
        (alpha.tree / "d/z2").write_text("the same")
        os.utime(alpha.tree / "d/z2", ns=(5, 5))
        alpha.tell("d/x", "d/y", "d/x2", "d/y2", "d/z2")
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert before < {(beta.tree / "d" / f"{name}2").stat().st_ino for name in ("x", "y", "z")}


async def test_what_somebody_here_writes_meanwhile_is_not_lost(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await sown(alpha, beta)
        rename(alpha, "d/a", "d/b")
        await alpha.quiet()

        async def raced(commit: MakesThem, commits: Commits) -> list[CommitResult]:
            append(beta.tree / "d/a", "written by somebody here")
            return await commit(commits)

        tried = at_a_rename(beta, raced)
        beta.hears(alpha)
        with trio.fail_after(5):
            await beta.volume.progress.wait_until(lambda: bool(tried))
        beta.tell("d/a")
        await settle(beta, alpha)
        expect_equal(alpha, beta)
        assert (alpha.tree / "d/b").read_text() == DATA + "written by somebody here", "the edit follows the file"


@pytest.mark.parametrize("is_made", [True, False])
async def test_a_rename_of_which_nobody_heard_what_became_is_found_out(tmp_path: Path, is_made: bool) -> None:
    async with two(tmp_path) as (alpha, beta):
        before = await sown(alpha, beta)
        rename(alpha, "d/a", "d/b")
        await alpha.quiet()

        async def losing(commit: MakesThem, commits: Commits) -> list[CommitResult]:
            if is_made:
                await commit(commits)
            raise trio.ClosedResourceError("the mount went away")

        lost = at_a_rename(beta, losing)
        beta.hears(alpha)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert lost
        assert (beta.tree / "d/b").stat().st_ino == before
        assert kept(beta) == []
        versions = [one.volume.index.rows.row(RelPath(b"d/b")) for one in (alpha, beta)]
        assert versions[0] is not None
        assert versions[1] is not None
        assert versions[0].record == versions[1].record, "nobody here has made anything"


async def test_what_the_disk_does_not_rename_is_copied(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        before = await sown(alpha, beta)
        rename(alpha, "d/a", "d/b")
        await alpha.quiet()

        async def failing(_: MakesThem, commits: Commits) -> list[CommitResult]:
            return [CommitResult(one.id, Outcome.FAILED, error=errno.EXDEV) for one in commits]

        failed = at_a_rename(beta, failing)
        beta.hears(alpha)
        with trio.fail_after(10):
            await beta.volume.progress.wait_until(lambda: (beta.tree / "d/b").exists())
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert len(failed) == 1
        assert (beta.tree / "d/b").stat().st_ino != before


OTHERS_OWN = """
xattrs = ["system.*"]
exclude = ["/d/sub"]
[[volumes.files.groups]]
members = ["alpha", "beta"]
include = ["/d/sub"]
"""


async def test_what_is_each_members_own_does_not_come_along_to_where_it_is_told(tmp_path: Path) -> None:
    async with two(tmp_path, OTHERS_OWN) as (alpha, beta):
        before = await sown(alpha, beta)
        os.setxattr(beta.tree / "d/a", "user.own", b"of beta")
        beta.tell("d/a")
        await settle(alpha, beta)
        rename(alpha, "d/a", "d/sub/b")
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert os.listxattr(alpha.tree / "d/sub/b") == os.listxattr(beta.tree / "d/sub/b") == []
        assert (beta.tree / "d/sub/b").stat().st_ino != before
