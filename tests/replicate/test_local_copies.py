"""A large file of which this host has the content already is copied beside everything else, and nothing waits for it."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.replicate import fetcher
from csfs.replicate.sources import COPIED_SIZE_MAX
from tests.replicate.test_linking import Member, Pair, expect_equal, settle, two

DATA = os.urandom(COPIED_SIZE_MAX + 77)


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Copying takes as long as the test says."""
    event, lacking_blocks = threading.Event(), fetcher.lacking_blocks

    def slow(*arguments: object, **options: object) -> set[int]:
        event.wait(20)
        return lacking_blocks(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(fetcher, "lacking_blocks", slow)
    yield event
    event.set()


async def sown(pair: Pair) -> None:
    """Have a large file at both; it was there before they met."""
    for member in pair:
        (member.tree / "d/large").write_bytes(DATA)
        os.utime(member.tree / "d/large", ns=(5, 5))
        member.tell("d", "d/large")
    await settle(*pair)
    expect_equal(*pair)


async def arrives(member: Member, path: str) -> None:
    with trio.fail_after(10):
        await member.volume.progress.wait_until((member.tree / path).exists)


async def test_while_a_large_file_is_copied_everything_else_goes_on(tmp_path: Path, go_on: threading.Event) -> None:
    async with two(tmp_path) as (alpha, beta):
        await sown((alpha, beta))
        shutil.copy2(alpha.tree / "d/large", alpha.tree / "d/copy")
        alpha.tell("d/copy")
        await alpha.quiet()
        beta.hears(alpha)
        for number in range(5):
            name = f"d/small-{number}"
            (alpha.tree / name).write_text(name)
            alpha.tell(name)
            await alpha.quiet()
            beta.hears(alpha)
            await arrives(beta, name)
        assert not (beta.tree / "d/copy").exists()
        go_on.set()
        await arrives(beta, "d/copy")
        await settle(alpha, beta)
        expect_equal(alpha, beta)


async def test_a_name_goes_only_when_what_it_stood_for_is_at_the_other(tmp_path: Path, go_on: threading.Event) -> None:
    async with two(tmp_path) as (alpha, beta):
        await sown((alpha, beta))
        os.rename(alpha.tree / "d/large", alpha.tree / "d/renamed")
        (alpha.tree / "d/renamed").chmod(0o600)  # so that it is another file there
        (alpha.tree / "d/after").write_text("after")
        change = Change(sequence=0, kind=ChangeKind.RENAME, path=RelPath(b"d/large"), target=RelPath(b"d/renamed"))
        alpha.worker.observer.take_unjournalled([change])
        alpha.tell("d/renamed", "d/after")
        await alpha.quiet()
        beta.hears(alpha)
        await arrives(beta, "d/after")
        await trio.sleep(0.1)
        assert (beta.tree / "d/large").exists()
        assert not (beta.tree / "d/renamed").exists()
        go_on.set()
        await arrives(beta, "d/renamed")
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert not (beta.tree / "d/large").exists()


async def test_what_changed_while_it_was_copied_is_copied_from_elsewhere(
    tmp_path: Path, go_on: threading.Event
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await sown((alpha, beta))
        for name in ("d/first", "d/other"):
            shutil.copy2(alpha.tree / "d/large", alpha.tree / name)
        alpha.tell("d/first")
        await alpha.quiet()
        beta.hears(alpha)
        with (beta.tree / "d/large").open("r+b") as file:
            file.seek(300_000)
            file.write(b"written here meanwhile")
        go_on.set()
        await trio.sleep(0.1)
        assert not (beta.tree / "d/first").exists(), "what is here is not that content any more"
        beta.tell("d/large")
        await beta.quiet()
        shutil.copy2(alpha.tree / "d/other", beta.tree / "d/found")
        beta.tell("d/found")
        await beta.quiet()
        beta.volume.apply_soon([RelPath(b"d/first")])  # as when a peer connects
        await arrives(beta, "d/first")
        assert (beta.tree / "d/first").read_bytes() == DATA
