"""What a file system refuses of what is set on an object that is there already."""

import errno
import os
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.core.paths import RelPath
from tests.replicate.test_linking import Member, expect_equal, settle, two

FILE = RelPath(b"d/file")
NAME = "user.large"


def refused(member: Member) -> dict[RelPath, tuple[str, ...]]:
    """Return what could not be represented there."""
    return member.volume.shortcomings.by_path


async def test_what_is_refused_in_place_is_tried_again_at_leisure(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        (alpha.tree / "d/file").write_text("content")
        alpha.tell("d", "d/file")
        await settle(alpha, beta)
        subprocess.run(["chattr", "+i", beta.tree / "d/file"], check=True)
        try:
            (alpha.tree / "d/file").chmod(0o600)
            alpha.tell("d/file")
            announced = beta.announced
            await settle(alpha, beta)
            assert "not permitted" in beta.volume.problems[FILE].reason
            await trio.sleep(0.5)
            assert beta.announced - announced <= 2
        finally:
            subprocess.run(["chattr", "-i", beta.tree / "d/file"], check=True)
        beta.volume.apply_soon([FILE])
        with trio.fail_after(5):
            await beta.volume.progress.wait_until(lambda: not beta.volume.problems)
        await settle(alpha, beta)
        expect_equal(alpha, beta)


@pytest.mark.parametrize("name", ["d/file", "d/made"])
async def test_what_is_too_large_for_a_file_system_is_left_out_and_listed(tmp_path: Path, name: str) -> None:
    async with two(tmp_path) as (alpha, beta):
        path = RelPath(name.encode())
        there, here = alpha.tree / name, beta.tree / name
        if name == "d/made":
            there.mkdir()
        else:
            there.write_text("content")
        os.setxattr(there, NAME, b"old")
        alpha.tell("d", name)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        # What alpha's file system takes of it is shown there; beta's is the same, so the record says more than either disk can.
        with alpha.volume.index.transaction():
            seen = alpha.volume.index.rows.row(path)
            assert seen is not None
            assert seen.applied.observation is not None
            xattrs = ((NAME.encode(), b"a" * 20_000), (b"user.small", b"1"))
            found = msgspec.structs.replace(seen.applied.observation, xattrs=xattrs)
            alpha.volume.engine.observe(path, found, time.time_ns())
        beta.hears(alpha)
        await beta.quiet()
        if not refused(beta):
            pytest.skip("the file system here takes attributes of any size")
        assert refused(beta) == {path: (f"xattr {NAME}: {os.strerror(errno.ENOSPC)}",)}
        assert beta.volume.problems == {}
        assert not beta.volume.is_pending(path)
        assert os.listxattr(here) == ["user.small"]
        # What beta changes then is made of all that there is, not of what it can show.
        here.chmod(0o700)
        beta.tell(name)
        await beta.quiet()
        row = beta.volume.index.rows.row(path)
        assert row is not None
        (meta,) = row.record.meta.entries
        assert (meta.value.mode, meta.value.xattrs) == (0o700, xattrs)
        assert set(refused(beta)) == {path}
