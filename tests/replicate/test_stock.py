"""Taking stock of commits of which nobody heard what became: what they displaced is kept, and known to be."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from csfs.core.paths import RelPath
from csfs.index.ledger import Cause
from csfs.mount.displaced import Displaced
from csfs.replicate.gate import Gate
from tests.replicate.test_linking import Killed, Member, expect_equal, settle, two

NAMES = ("x", "y", "z")


@pytest.mark.parametrize("commits", [0, 1, 2])
async def test_what_was_displaced_when_the_mount_went_away_is_in_the_history(tmp_path: Path, commits: int) -> None:
    async with two(tmp_path) as (alpha, beta):
        await sow(alpha, beta)
        beta.commits_max = commits
        beta.hears(alpha)
        await another_mount(beta)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        expect_all_kept(beta)


@pytest.mark.parametrize("moved", [0, 1, 2])
async def test_what_a_mount_was_about_to_keep_when_it_was_killed_is_kept_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    left, move = moved, Displaced._move_to_kept

    def killed(displaced: Displaced, *arguments: Any) -> None:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        move(displaced, *arguments)

    async with two(tmp_path) as (alpha, beta):
        await sow(alpha, beta)
        monkeypatch.setattr(Displaced, "_move_to_kept", killed)
        beta.hears(alpha)
        await another_mount(beta, lambda: monkeypatch.setattr(Displaced, "_move_to_kept", move))
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        expect_all_kept(beta)
        assert not any(one.read_text().startswith("old") for one in (beta.tree / ".csfs/stage").iterdir())


async def test_what_a_program_removes_before_a_commit_that_was_to_keep_it_is_waited_for_by_nobody(
    tmp_path: Path,
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await lose_to_a_directory(alpha, beta)
        (beta.tree / "d/x").unlink()
        beta.tell("d/x")
        await another_mount(beta)
        shutil.rmtree(alpha.tree / "d/x")
        alpha.tell("d/x/y", "d/x")
        await alpha.quiet()
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert not (beta.tree / "d/x").exists()
        assert list(beta.volume.index.rows.pending()) == []
        assert [one.cause for one in beta.volume.index.ledger.kept(RelPath(b"d/x"))] == [Cause.REMOVED], "by beta"


async def lose_to_a_directory(alpha: Member, beta: Member) -> None:
    """Alpha has made a directory where beta has a file of its own, whose mount goes away before that is kept."""
    (alpha.tree / "d/x").mkdir()
    (alpha.tree / "d/x/y").write_text("y")
    (beta.tree / "d/x").write_text("beta's")
    for member, paths in ((alpha, ("d/x", "d/x/y")), (beta, ("d/x",))):
        member.tell("d", *paths)
        await member.quiet()
    beta.commits_max = 0
    beta.hears(alpha)
    with trio.move_on_after(0.3):
        await beta.quiet()


async def sow(alpha: Member, beta: Member) -> None:
    """Alpha has changed files that both have."""
    for text in ("old", "new"):
        for name in NAMES:
            (alpha.tree / "d" / name).write_text(f"{text} {name}")
        alpha.tell("d", *(f"d/{name}" for name in NAMES))
        await (settle(alpha, beta) if text == "old" else alpha.quiet())


async def another_mount(member: Member, before: Callable[[], None] = lambda: None) -> None:
    """The mount goes away in the middle of what is to be committed, and comes back."""
    with trio.move_on_after(0.3):
        await member.quiet()
    member.worker.detach_gate(member.gate)
    await member.worker.detach_root()
    before()
    member.commits_max = -1
    member.gate = Gate(member._announce, os.open(member.tree, os.O_RDONLY), member.thread)
    await member.worker.attach_root(os.dup(member.root))
    member.worker.mount_began(mount=b"another", clean=False)
    member.worker.attach_gate(member.gate)


def expect_all_kept(member: Member) -> None:
    """What was replaced is in the history, and nothing else is in the kept store."""
    store, ledger = member.tree / ".csfs/kept", member.volume.index.ledger
    for name in NAMES:
        (version,) = (one for one in ledger.kept(RelPath(f"d/{name}".encode())) if one.size)
        assert (store / os.fsdecode(version.name)).read_text() == f"old {name}"
    assert all(ledger.is_kept(os.fsencode(one.name)) for one in store.iterdir())
