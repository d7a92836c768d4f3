"""Moves of directories that a peer tells of, while the rules here change, or the disk is slow."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from csfs.config import reader
from csfs.core.groups import Rules
from csfs.core.paths import RelPath
from csfs.core.versions import Scope
from csfs.replicate import wholes
from csfs.store import scanning
from csfs.store.scanning import Chunk, scan
from csfs.wire.control import Commit, Move
from tests.replicate.test_linking import SETTINGS, Member, expect_equal, settle, two
from tests.replicate.test_wholes import D, E, follow, grown, inode, move


@pytest.mark.parametrize("is_slow", [True, False])
async def test_who_would_have_to_look_for_long_renames_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_slow: bool
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        for number in range(0 if is_slow else 500):  # nobody has told of them
            (beta.tree / f"d/old/sub/untold{number}").touch()
        move(alpha)
        await alpha.quiet()
        chunks = list[int]()

        def scanned(*arguments: Any) -> Iterator[Chunk]:
            for chunk in scan(*arguments):
                chunks.append(len(chunk.found))
                yield chunk

        monkeypatch.setattr(scanning, "CHUNK_SIZE", 10)
        monkeypatch.setattr(wholes, "scan", scanned)
        monkeypatch.setattr(wholes, "WALK_S_MAX", -1.0 if is_slow else 60.0)
        assert not await follow(alpha, beta)
        assert (beta.tree / "d/old/f7").exists()
        assert len(chunks) == (1 if is_slow else 5)


def other_rules(member: Member) -> Rules:
    """Return the rules of both members with another policy."""
    text = SETTINGS + 'policy = ["older"]\n'
    return reader.parse(text, "settings").rules("files", member.name)


@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_rename_is_recorded_though_the_rules_have_changed_since_it_was_agreed(
    tmp_path: Path, is_heard: bool
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        move(alpha)
        await alpha.quiet()
        commit, before, counted = beta.gate.commit, inode(beta, D), beta.volume.index.rows.last_counter(Scope(b""))

        async def overtaken(commits: Sequence[Commit]) -> object:
            found = await commit(commits)
            if not any(isinstance(one.action, Move) for one in commits):
                return found
            beta.gate.commit = commit  # type: ignore[method-assign]
            beta.worker.follow(other_rules(beta))
            if is_heard:
                return found
            raise trio.ClosedResourceError("the mount went away")

        beta.gate.commit = overtaken  # type: ignore[method-assign, assignment]
        assert not await follow(alpha, beta), "the peer tells each path once more"
        with trio.fail_after(5):
            await beta.volume.progress.wait_until(lambda: beta.volume.index.ledger.moving is None)
        await beta.quiet()
        row = beta.volume.index.rows.row(RelPath(E + b"/f3"))
        assert row is not None
        assert row.applied.observation is not None
        assert row.record.content.entries[0].dot.incarnation == alpha.volume.index.incarnation
        assert beta.volume.index.rows.last_counter(Scope(b"")) == counted, "nothing of it is a change of this member"
        alpha.worker.follow(other_rules(alpha))
        alpha.heard = beta.heard = 0
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert inode(beta, E) == before
