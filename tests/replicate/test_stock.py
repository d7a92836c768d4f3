"""Taking stock of commits of which nobody heard what became: what they displaced is kept, and known to be."""

import os
from pathlib import Path

import pytest
import trio

from csfs.core.paths import RelPath
from csfs.replicate.gate import Gate
from tests.replicate.test_linking import expect_equal, settle, two


@pytest.mark.parametrize("commits", [0, 1, 2])
async def test_what_was_displaced_when_the_mount_went_away_is_in_the_history(tmp_path: Path, commits: int) -> None:
    async with two(tmp_path) as (alpha, beta):
        names = ("x", "y", "z")
        for name in names:
            (alpha.tree / "d" / name).write_text(f"old {name}")
        alpha.tell("d", *(f"d/{name}" for name in names))
        await settle(alpha, beta)
        for name in names:
            (alpha.tree / "d" / name).write_text(f"new {name}")
        alpha.tell(*(f"d/{name}" for name in names))
        await alpha.quiet()
        beta.commits_max = commits
        beta.hears(alpha)
        with trio.move_on_after(0.3):
            await beta.quiet()
        beta.worker.detach_gate(beta.gate)
        beta.commits_max = -1
        beta.gate = Gate(beta._announce, os.open(beta.tree, os.O_RDONLY), beta.thread)
        beta.worker.mount_began(mount=b"another", clean=False)
        beta.worker.attach_gate(beta.gate)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        store = beta.tree / ".csfs/kept"
        for name in names:
            (version,) = (one for one in beta.volume.index.ledger.kept(RelPath(f"d/{name}".encode())) if one.size)
            assert (store / os.fsdecode(version.name)).read_text() == f"old {name}"
        assert all(beta.volume.index.ledger.is_kept(os.fsencode(one.name)) for one in store.iterdir())
