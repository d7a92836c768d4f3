"""A directory that is moved as a whole has, at both members, the mode and the time that somebody gave it."""

import os
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.replicate import spreading
from tests.replicate.test_linking import expect_equal, settle, two
from tests.replicate.test_wholes import E, grown, move


async def test_what_a_program_does_to_a_directory_that_it_has_just_moved_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        found, left = spreading._found, [True]

        def overtaken(*arguments: object) -> object:
            result = found(*arguments)  # type: ignore[arg-type]
            if left:
                left.clear()
                os.utime(alpha.tree / "d/new", ns=(1, 2_000))
                (alpha.tree / "d/new").chmod(0o700)
                meta = Change(sequence=0, kind=ChangeKind.META, path=E)
                trio.from_thread.run_sync(alpha.worker.observer.take_unjournalled, [meta])
            return result

        monkeypatch.setattr(spreading, "_found", overtaken)
        move(alpha)
        await settle(alpha, beta)
        assert not left
        expect_equal(alpha, beta)
        status = (beta.tree / "d/new").stat()
        assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o700, 2_000)
