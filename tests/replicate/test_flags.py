"""Flags of chattr at two members of a group that keeps them the same."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.core.paths import RelPath
from csfs.core.records import MetaEntry
from csfs.replicate import looking, reading
from csfs.replicate.looking import Reason
from csfs.replicate.volume import Root
from csfs.store.attributes import stamp_of
from csfs.store.observing import Limits
from csfs.store.tree import Look
from csfs.wire.control import Commits, ControlMessage
from tests.replicate.test_linking import Member, Pair, append, expect_equal, settle, two

FILE = RelPath(b"d/file")


def chattr(flags: str, *paths: Path) -> None:
    subprocess.run(["chattr", flags, *paths], check=True)


def flags_at(path: Path) -> str:
    """Return `a` and `i` as lsattr shows them."""
    shown = subprocess.run(["lsattr", "-d", path], check=True, capture_output=True, text=True).stdout.split()[0]
    return "".join(sorted(set(shown) & set("ai")))


@pytest.fixture(autouse=True)
def _clear(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "probe").touch()
    if subprocess.run(["chattr", "+i", tmp_path / "probe"], check=False, capture_output=True).returncode:
        pytest.skip("no such flags on the file system here")
    yield
    subprocess.run(["chattr", "-R", "-f", "-ia", tmp_path], check=False)


@asynccontextmanager
async def flagged(directory: Path) -> AsyncIterator[Pair]:
    """Two members, and a file that is immutable at both."""
    async with two(directory, "flags = true\n") as (alpha, beta):
        (alpha.tree / "d/file").write_text("content\n")
        alpha.tell("d", "d/file")
        await settle(alpha, beta)
        chattr("+i", alpha.tree / "d/file")
        alpha.tell("d/file")
        await settle(alpha, beta)
        assert flags_at(beta.tree / "d/file") == "i"
        yield alpha, beta
        expect_equal(alpha, beta)


def minted(*members: Member) -> list[int]:
    """Return how many versions each has made."""
    return [member.volume.index.rows.last_counter(next(iter(member.volume.scopes()))) for member in members]


def metas(member: Member, *paths: bytes) -> list[MetaEntry]:
    """Return what is known of attributes at these paths."""
    rows = [member.volume.index.rows.row(RelPath(path)) for path in paths]
    return [entry for row in rows if row is not None for entry in row.record.meta.entries]


async def test_flags_travel_and_go_again(tmp_path: Path) -> None:
    async with flagged(tmp_path) as (alpha, beta):
        chattr("-i", beta.tree / "d/file")
        chattr("+a", beta.tree / "d/file", beta.tree / "d")
        beta.tell("d/file", "d")
        await settle(alpha, beta)
        assert flags_at(alpha.tree / "d/file") == flags_at(alpha.tree / "d") == "a"
        chattr("-a", alpha.tree / "d/file", alpha.tree / "d")
        alpha.tell("d/file", "d")
        await settle(alpha, beta)
        assert flags_at(beta.tree / "d/file") == flags_at(beta.tree / "d") == ""


async def test_what_is_immutable_is_edited_renamed_and_removed_by_a_peer(tmp_path: Path) -> None:
    async with flagged(tmp_path) as (alpha, beta):
        before = minted(alpha, beta)
        chattr("-i", alpha.tree / "d/file")
        append(alpha.tree / "d/file", "more\n")
        chattr("+i", alpha.tree / "d/file")
        alpha.tell("d/file")
        await settle(alpha, beta)
        assert (beta.tree / "d/file").read_text() == "content\nmore\n"
        assert flags_at(beta.tree / "d/file") == "i"
        with pytest.raises(PermissionError):
            append(beta.tree / "d/file", "not by a program here")
        assert minted(alpha, beta) == [before[0] + 1, before[1]]
        chattr("-i", alpha.tree / "d/file")
        os.rename(alpha.tree / "d/file", alpha.tree / "d/renamed")
        chattr("+i", alpha.tree / "d/renamed", alpha.tree / "d")
        alpha.tell("d", "d/file", "d/renamed")
        await settle(alpha, beta)
        assert flags_at(beta.tree / "d/renamed") == flags_at(beta.tree / "d") == "i"
        chattr("-i", alpha.tree / "d/renamed", alpha.tree / "d")
        os.unlink(alpha.tree / "d/renamed")
        chattr("+i", alpha.tree / "d")
        alpha.tell("d", "d/renamed")
        await settle(alpha, beta)
        assert os.listdir(beta.tree / "d") == []
        assert minted(beta) == before[1:], "nothing of this was done at beta"


async def test_an_edit_meets_a_flag_that_was_set_elsewhere(tmp_path: Path) -> None:
    async with flagged(tmp_path) as (alpha, beta):
        (alpha.tree / "d/other").write_text("other\n")
        alpha.tell("d", "d/other")
        await settle(alpha, beta)
        append(alpha.tree / "d/other", "edited\n")
        chattr("+a", beta.tree / "d/other")
        alpha.tell("d/other")
        beta.tell("d/other")
        await settle(alpha, beta)
        for member in (alpha, beta):
            assert (member.tree / "d/other").read_text() == "other\nedited\n"
            assert flags_at(member.tree / "d/other") == "a"


async def test_a_log_that_grows_only_grows_at_the_peer(tmp_path: Path) -> None:
    async with flagged(tmp_path) as (alpha, beta):
        (alpha.tree / "d/log").write_text("first\n")
        chattr("+a", alpha.tree / "d/log")
        alpha.tell("d", "d/log")
        await settle(alpha, beta)
        for number in range(3):
            append(alpha.tree / "d/log", f"{number}\n")
            alpha.tell("d/log")
            await settle(alpha, beta)
        assert (beta.tree / "d/log").read_text() == "first\n0\n1\n2\n"
        assert flags_at(beta.tree / "d/log") == "a"
        append(beta.tree / "d/log", "by beta\n")
        beta.tell("d/log")
        await settle(alpha, beta)
        assert (alpha.tree / "d/log").read_text() == "first\n0\n1\n2\nby beta\n"


async def test_names_of_one_file_stay_names_of_one_file(tmp_path: Path) -> None:
    async with flagged(tmp_path) as (alpha, beta):
        chattr("-i", alpha.tree / "d/file")
        os.link(alpha.tree / "d/file", alpha.tree / "d/name")
        chattr("+i", alpha.tree / "d/file")
        alpha.tell("d", "d/file", "d/name")
        await settle(alpha, beta)
        assert (beta.tree / "d/file").stat().st_nlink == 2
        chattr("-i", alpha.tree / "d/name")
        append(alpha.tree / "d/name", "more\n")
        chattr("+i", alpha.tree / "d/name")
        alpha.tell("d/file", "d/name")
        await settle(alpha, beta)
        assert (beta.tree / "d/file").read_text() == "content\nmore\n"
        assert (beta.tree / "d/file").stat().st_nlink == 2
        assert flags_at(beta.tree / "d/name") == "i"
        chattr("-i", alpha.tree / "d/name")
        os.unlink(alpha.tree / "d/name")
        chattr("+i", alpha.tree / "d/file")
        alpha.tell("d", "d/file", "d/name")
        await settle(alpha, beta)
        assert flags_at(beta.tree / "d/file") == "i"


async def test_what_a_tree_has_is_there_with_its_flags_from_the_beginning(tmp_path: Path) -> None:
    async with two(tmp_path, "flags = true\n") as (alpha, beta):
        alpha.tell("d")
        await settle(alpha, beta)
        (alpha.tree / "d/sub").mkdir()
        for name in ("d/sub/one", "d/sub/two"):
            (alpha.tree / name).write_text(name)
        chattr("+i", alpha.tree / "d/sub/one", alpha.tree / "d/sub", alpha.tree / "d")
        alpha.tell("d", "d/sub", "d/sub/one", "d/sub/two")
        await settle(alpha, beta)
        assert [flags_at(beta.tree / name) for name in ("d", "d/sub", "d/sub/one", "d/sub/two")] == ["i", "i", "i", ""]
        expect_equal(alpha, beta)


async def test_without_the_option_flags_are_each_members_own(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        (alpha.tree / "d/file").write_text("content\n")
        alpha.tell("d", "d/file")
        await settle(alpha, beta)
        chattr("+i", alpha.tree / "d/file")
        alpha.tell("d/file")
        await settle(alpha, beta)
        assert flags_at(beta.tree / "d/file") == ""
        append(beta.tree / "d/file", "more\n")
        beta.tell("d/file")
        await settle(alpha, beta)
        assert "not permitted" in alpha.volume.problems[FILE].reason
        assert flags_at(alpha.tree / "d/file") == "i"


async def test_a_look_at_what_a_commit_has_just_lifted_makes_no_version(tmp_path: Path) -> None:
    async with flagged(tmp_path) as (alpha, beta):
        chattr("+i", alpha.tree / "d")
        alpha.tell("d")
        await settle(alpha, beta)
        before, commit = metas(beta, b"d", b"d/file"), beta.gate._send
        announced: list[bytes] = []

        async def commit_slowly(message: ControlMessage) -> None:
            # As a thread finds it that looks at the directory in the middle of the one step in which the mount makes the commit.
            if isinstance(message, Commits):
                chattr("-i", beta.tree / "d")
                beta.tell("d")
                await trio.sleep(0.1)
                announced.extend(commit.path for commit in message.commits)
                chattr("+i", beta.tree / "d")
            await commit(message)

        beta.gate._send = commit_slowly
        chattr("-i", alpha.tree / "d")
        (alpha.tree / "d/new").write_text("new\n")
        chattr("+i", alpha.tree / "d")
        alpha.tell("d/new")
        await settle(alpha, beta)
        assert b"d/new" in announced
        after = metas(beta, b"d", b"d/file")
        assert (len(before), after) == (2, before), "nobody at beta has taken flags away"
        assert flags_at(beta.tree / "d") == flags_at(beta.tree / "d/file") == "i"


async def test_what_was_read_beside_while_a_commit_had_lifted_flags_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, count = reading._read, 0
    monkeypatch.setattr(looking, "LIMITS", Limits(100, 100, 500_000))
    async with two(tmp_path, "flags = true\n") as (alpha, _):
        large, path = alpha.tree / "d/large", RelPath(b"d/large")
        large.write_bytes(os.urandom(1_000_000))
        chattr("+i", large)
        alpha.tell("d", "d/large")
        await alpha.quiet()
        before = metas(alpha, path)

        def read_when_lifted(root: Root, path: RelPath) -> reading.Read | None:
            nonlocal count
            count += 1
            if count > 1:
                return read(root, path)
            chattr("-i", large)
            found = read(root, path)
            chattr("+i", large)
            alpha.gate._touched = set()
            assert isinstance(found, Look)
            # All within one tick of the clock that stamps are taken from.
            stamp = stamp_of(large.stat())
            return msgspec.structs.replace(found, observation=msgspec.structs.replace(found.observation, stamp=stamp))

        monkeypatch.setattr(reading, "_read", read_when_lifted)
        alpha.gate._touched = {path}
        alpha.worker.observer.look(path, Reason(content=True))
        await alpha.quiet()
        assert (count, len(before), metas(alpha, path)) == (2, 1, before)
