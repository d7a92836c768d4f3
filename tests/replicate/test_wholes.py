"""A directory that is moved at one member, with workers and a mount's gate at both, is one message and one rename at the other."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.versions import Dot
from csfs.errors import UnwritableError
from csfs.replicate.happenings import Happenings
from csfs.wire.control import Commit, Move
from tests.replicate.test_linking import Member, expect_equal, settle, two

D, E = RelPath(b"d/old"), RelPath(b"d/new")
COUNT = 40


def grow(member: Member) -> None:
    """Make a directory with files and another directory."""
    old = member.tree / "d/old"
    (old / "sub").mkdir(parents=True)
    for number in range(COUNT):
        (old / f"f{number}").write_text(f"{number}\n")
    (old / "sub/x").write_text("below\n")
    (old / "link").symlink_to("f1")
    member.tell("d", "d/old", "d/old/sub", "d/old/sub/x", "d/old/link", *(f"d/old/f{n}" for n in range(COUNT)))


def move(member: Member, source: RelPath = D, target: RelPath = E) -> None:
    """A program renames a directory, and the mount tells of it."""
    os.rename(member.tree / os.fsdecode(source), member.tree / os.fsdecode(target))
    change = Change(sequence=0, kind=ChangeKind.RENAME, path=source, target=target)
    member.worker.observer.take_unjournalled([change])


def inode(member: Member, path: RelPath) -> int:
    return (member.tree / os.fsdecode(path) / "f7").stat().st_ino


async def follow(alpha: Member, beta: Member) -> bool:
    """Tell a member of the next move, and return whether it has followed."""
    while True:
        out = alpha.volume.engine.outgoing(beta.heard, beta.volume.engine.knowledge(), 1000, beta.name)
        if out.move is not None:
            break
        assert not out.done, "it was not moved as a whole"
        with beta.volume.index.transaction():
            # The time of the directory around it may come first.
            received = beta.volume.engine.receive("alpha", out.scope, out.updates, out.mark, 1)
        beta.volume.apply_soon(received.touched)
        beta.heard = out.position
    followed = await beta.worker.applier.wholes.follow("alpha", out.scope, out.move, lambda: None)
    beta.heard = out.position if followed else beta.heard
    return followed


async def grown(alpha: Member, beta: Member) -> None:
    for member in (alpha, beta):
        member.volume.authors.update({m.volume.index.incarnation: m.name for m in (alpha, beta)})
    grow(alpha)
    await settle(alpha, beta)
    await trio.sleep(0.05)
    await settle(alpha, beta)
    assert (beta.tree / "d/old/f7").exists()


async def test_one_rename_moves_all_that_is_below(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        before = inode(beta, D)
        move(alpha)
        await alpha.quiet()
        assert await follow(alpha, beta)
        assert inode(beta, E) == before
        assert not (beta.tree / "d/old").exists()
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        rows = [
            {path: row.record for path, row in one.volume.index.rows.rows_below(RelPath(b"d"))} for one in (alpha, beta)
        ]
        assert rows[0] == rows[1]


async def test_what_was_moved_is_in_the_history_and_the_log_of_both(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        move(alpha)
        await alpha.quiet()
        assert await follow(alpha, beta)

        def is_told(happenings: Happenings) -> bool:
            return [one.what for one in happenings.since(0, RelPath(E + b"/f3"))] == ["made"]

        for member in (alpha, beta):
            happenings = member.volume.happenings
            with trio.fail_after(5):
                await happenings.more.wait_until(functools.partial(is_told, happenings))
            (kept,) = member.volume.index.ledger.kept(RelPath(D + b"/f3"))
            assert (kept.member, kept.size) == ("alpha", 0)


Spoil = Callable[[Member], None]


def _edited(member: Member) -> None:
    (member.tree / "d/old/f3").write_text("edited\n")
    member.tell("d/old/f3")


def _edited_untold(member: Member) -> None:
    (member.tree / "d/old/untold").write_text("nobody has heard of it\n")


def _touched_untold(member: Member) -> None:
    os.utime(member.tree / "d/old", ns=(1, 1))


def _closed_untold(member: Member) -> None:
    (member.tree / "d/old").chmod(0o700)


def _in_the_way(member: Member) -> None:
    (member.tree / "d/new").mkdir()


def _busy(member: Member) -> None:
    member.worker.applier.wholes.turn.acquire_nowait()


def _uncompared(member: Member) -> None:
    member.volume.uncompared = True


def _validated(member: Member) -> None:
    member.worker.validation.asks_of = lambda path: path.endswith(b"/f3")  # type: ignore[method-assign]


def _waited_for(member: Member) -> None:
    member.gate.asks_first = True


SPOILS = (_edited, _edited_untold, _touched_untold, _closed_untold, _in_the_way, _busy)
SPOILS += (_uncompared, _validated, _waited_for)


@pytest.mark.parametrize("spoil", SPOILS)
async def test_who_has_something_else_below_renames_nothing(tmp_path: Path, spoil: Spoil) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        move(alpha)
        await alpha.quiet()

        spoil(beta)
        assert not await follow(alpha, beta)
        assert (beta.tree / "d/old/f7").exists()
        assert not (beta.tree / "d/new/f7").exists()


async def test_an_edit_made_here_meanwhile_follows_and_nothing_is_lost(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        move(alpha)
        _edited(beta)
        await alpha.quiet()
        await beta.quiet()
        assert not await follow(alpha, beta)
        beta.hears(alpha)
        with beta.volume.index.transaction():
            beta.volume.engine.follow([RelPath(D + b"/f3"), RelPath(E + b"/f3")], 1)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (alpha.tree / "d/new/f3").read_text() == "edited\n"


async def test_a_move_that_somebody_here_makes_meanwhile_is_refused_by_the_gate(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        move(alpha)
        await alpha.quiet()
        commit = beta.gate.commit

        async def raced(commits: Sequence[Commit]) -> object:
            if any(isinstance(one.action, Move) for one in commits):
                os.rename(beta.tree / "d/old", beta.tree / "d/mine")
            return await commit(commits)

        beta.gate.commit = raced  # type: ignore[method-assign, assignment]
        assert not await follow(alpha, beta)
        beta.gate.commit = commit  # type: ignore[method-assign]
        assert (beta.tree / "d/mine/f7").exists()
        assert beta.volume.index.ledger.moving is None
        with trio.fail_after(5):  # the times of directories may be under way
            await beta.volume.progress.wait_until(lambda: not beta.volume.in_flight)


@pytest.mark.parametrize("is_made", [True, False])
@pytest.mark.parametrize("is_told_meanwhile", [True, False])
async def test_a_rename_of_which_nobody_heard_what_became_is_found_out(
    tmp_path: Path, is_made: bool, is_told_meanwhile: bool
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        move(alpha)
        await alpha.quiet()
        commit, before = beta.gate.commit, inode(beta, D)

        async def lost(commits: Sequence[Commit]) -> object:
            if not any(isinstance(one.action, Move) for one in commits):
                return await commit(commits)  # something else, before the move
            if is_made:
                await commit(commits)
            raise trio.ClosedResourceError("the mount went away")

        beta.gate.commit = lost  # type: ignore[method-assign, assignment]
        assert not await follow(alpha, beta)
        if is_told_meanwhile:
            beta.hears(alpha)
        beta.gate.commit = commit  # type: ignore[method-assign]
        with trio.fail_after(5):
            await beta.volume.progress.wait_until(lambda: beta.volume.index.ledger.moving is None)
        beta.hears(alpha)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        if is_made:
            assert inode(beta, E) == before


async def test_what_somebody_does_to_a_directory_before_its_rename_is_recorded_is_a_change(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        move(alpha)
        await alpha.quiet()
        commit = beta.gate.commit

        async def lost(commits: Sequence[Commit]) -> object:
            found = await commit(commits)
            if not any(isinstance(one.action, Move) for one in commits):
                return found  # something else, before the move
            beta.gate.commit = commit  # type: ignore[method-assign]
            (beta.tree / "d/new").chmod(0o700)
            raise trio.ClosedResourceError("the mount went away")

        beta.gate.commit = lost  # type: ignore[method-assign, assignment]
        assert not await follow(alpha, beta)
        with trio.fail_after(5):
            await beta.volume.progress.wait_until(lambda: beta.volume.index.ledger.moving is None)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (alpha.tree / "d/new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("is_made", [True, False])
async def test_who_moves_a_directory_on_before_its_rename_is_recorded_moves_the_same_objects(
    tmp_path: Path, is_made: bool
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        born = _births(beta, D)
        move(alpha)
        await alpha.quiet()
        await _lose_answer(alpha, beta, is_made, lambda: move(beta, E if is_made else D, RelPath(b"d/mine")))
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert not (alpha.tree / "d/new").exists()
        assert (alpha.tree / "d/mine/sub/x").read_text() == "below\n"
        assert _births(alpha, RelPath(b"d/mine")) == born


async def test_a_directory_is_made_anew_and_removed_where_a_rename_was_not_recorded(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        born = _births(beta, D)
        move(alpha)
        await alpha.quiet()

        def make_anew_and_remove() -> None:
            (beta.tree / "d/old").mkdir()
            (beta.tree / "d/old/f7").write_text("another\n")
            (beta.tree / "d/new/sub/x").unlink()
            made = [Change(sequence=0, kind=ChangeKind.CREATE, path=RelPath(path)) for path in (D, D + b"/f7")]
            gone = Change(sequence=0, kind=ChangeKind.REMOVE, path=RelPath(b"d/new/sub/x"))
            beta.worker.observer.take_unjournalled([*made, gone])

        await _lose_answer(alpha, beta, True, make_anew_and_remove)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert [one.name for one in (alpha.tree / "d/old").iterdir()] == ["f7"]
        assert (alpha.tree / "d/old/f7").read_text() == "another\n"
        assert not (alpha.tree / "d/new/sub/x").exists()
        assert _births(alpha, E) < born
        assert len(_births(alpha, E)) == len(born) - 1


def _births(member: Member, directory: RelPath) -> set[Dot | None]:
    """Return which files are shown below a directory."""
    shown = member.volume.engine.shown_at_and_below(directory).values()
    kinds = (Kind.FILE, Kind.SYMLINK)
    return {one.lineage.birth for one in shown if one.observation is not None and one.observation.kind in kinds}


async def _lose_answer(alpha: Member, beta: Member, is_made: bool, meanwhile: Callable[[], None]) -> None:
    """Have a mount go away in the middle of a rename, made or not, and somebody do something before it is recorded."""
    commit = beta.gate.commit

    async def lost(commits: Sequence[Commit]) -> object:
        if not any(isinstance(one.action, Move) for one in commits):
            return await commit(commits)  # something else, before the move
        if is_made:
            await commit(commits)
        beta.gate.commit = commit  # type: ignore[method-assign]
        meanwhile()
        raise trio.ClosedResourceError("the mount went away")

    beta.gate.commit = lost  # type: ignore[method-assign, assignment]
    assert not await follow(alpha, beta)
    with trio.fail_after(5):
        await beta.volume.progress.wait_until(lambda: beta.volume.index.ledger.moving is None)


async def test_edits_may_follow_a_move_as_soon_as_it_is_known_as_a_whole(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        engine, unseen, asked = alpha.volume.engine, list[bool](), trio.Event()
        follow_now = engine.follow

        def watched(paths: Iterable[RelPath], now_ns: int, is_unseen: Callable[[RelPath], bool]) -> tuple[RelPath, ...]:
            unseen.extend(is_unseen(path) for path in paths)
            asked.set()
            return follow_now(paths, now_ns, is_unseen)

        engine.follow = watched  # type: ignore[method-assign, assignment]
        move(alpha)
        await alpha.quiet()
        assert engine._wholes
        with trio.fail_after(5):
            await asked.wait()  # peers are told before
        assert len(unseen) >= 2 * COUNT
        assert not any(unseen)


async def test_a_move_that_the_index_could_not_store_is_told_by_nobody(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        index, refused = alpha.volume.index, trio.Event()
        transaction = index.transaction

        @contextlib.contextmanager
        def full() -> Iterator[None]:
            before = len(alpha.volume.engine._wholes)
            with transaction():
                yield
                if len(alpha.volume.engine._wholes) > before:
                    index.transaction = transaction  # type: ignore[method-assign]
                    refused.set()
                    raise UnwritableError("the disk is full")

        index.transaction = full  # type: ignore[method-assign]
        move(alpha)
        with trio.fail_after(5):
            await refused.wait()
        assert not alpha.volume.engine._wholes
        await settle(alpha, beta)
        assert (beta.tree / "d/new/f7").exists()
        expect_equal(alpha, beta)
