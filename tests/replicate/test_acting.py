"""Actions: when they run, for what, what becomes of their ends, and what a kill in the middle leaves."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from csfs.config.commands import APPLIED, CHANGED, CONFLICT, LOCAL, ActionSettings
from csfs.core.paths import RelPath
from csfs.errors import UnwritableError
from csfs.index.index import Index
from csfs.replicate import acting
from csfs.replicate.acting import Actions
from csfs.replicate.volume import Volume
from csfs.store.owners import Owners
from tests.replicate.alone import rules_of

SETTLE = "0.05s"
A, B, ODD = RelPath(b"conf/a"), RelPath(b"conf/b"), RelPath(b"conf/with\nnew line; $(id) \xff")


@pytest.fixture
async def volume(tmp_path: Path) -> AsyncIterator[Volume]:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    yield Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners())
    index.close()


def action(script: str, on: str = APPLIED, *, paths: str = "/conf", timeout: str = "60s") -> ActionSettings:
    """Return a shell script as an action."""
    return ActionSettings((paths,), ("sh", "-c", script), on, (), SETTLE, timeout)


def changed(volume: Volume, *paths: RelPath, local: bool = False) -> None:
    """Have paths change, in one transaction."""
    with volume.index.transaction():
        for path in paths:
            volume.happenings.noticed(path, local)


@asynccontextmanager
async def acting_on(volume: Volume, *actions: ActionSettings) -> AsyncIterator[Actions]:
    """Run actions; at the end they are cancelled, as when the daemon is stopped."""
    runner = Actions(volume)
    runner.configure(actions, "/srv/files")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)
        yield runner
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    with trio.move_on_after(20):
        while not holds():  # noqa: ASYNC110 - files and an index say so
            await trio.sleep(0.005)
    assert holds(), what


async def at_rest(volume: Volume) -> None:
    await until(lambda: not volume.index.due.actions(), "all that was due has run")


async def test_what_changes_together_is_told_once_with_names_as_they_are(volume: Volume, tmp_path: Path) -> None:
    told = tmp_path / "told"
    async with acting_on(volume, action(f"cat >>{told}; echo end >>{told}")):
        changed(volume, B, ODD, RelPath(b"elsewhere"))
        changed(volume, A, B)
        await at_rest(volume)
    names = sorted(b"/srv/files/" + path for path in (A, B, ODD))
    assert told.read_bytes() == b"".join(name + b"\0" for name in names) + b"end\n"


async def test_each_hears_of_what_it_is_for_and_they_run_as_they_are_written(volume: Volume, tmp_path: Path) -> None:
    told = tmp_path / "told"
    actions = [action(f"echo {on} $CSFS_VOLUME $CSFS_OCCASION >>{told}", on) for on in (CHANGED, LOCAL, APPLIED)]
    async with acting_on(volume, *actions):
        changed(volume, A)
        await at_rest(volume)
        assert told.read_text().splitlines() == ["changed files changed", "applied files applied"]
        told.unlink()
        changed(volume, A, local=True)
        await at_rest(volume)
    assert told.read_text().splitlines() == ["changed files changed", "local files local"]


async def test_one_that_names_other_members_runs_there_alone(volume: Volume, tmp_path: Path) -> None:
    told = tmp_path / "told"
    elsewhere = ActionSettings(("/conf",), ("sh", "-c", f"echo x >{told}"), APPLIED, ("beta",), SETTLE)
    async with acting_on(volume, elsewhere, action(f"echo here >>{told}")):
        changed(volume, A)
        await at_rest(volume)
    assert told.read_text() == "here\n"


async def test_where_the_volume_has_no_directory_nothing_is_run(volume: Volume, tmp_path: Path) -> None:
    """A conflict is known there, too, but no name by which this host calls the file."""
    runner = Actions(volume)
    runner.configure([action(f"touch {tmp_path}/run", CONFLICT)], "")
    assert runner._actions == ()
    runner.configure([action(f"touch {tmp_path}/run", CONFLICT)], "/srv/files")
    assert len(runner._actions) == 1


async def test_who_fails_is_told_of_until_it_does_not(volume: Volume, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    script = f"if test -e {broken}; then echo line 3 is; echo wrong >&2; exit 4; fi"
    async with acting_on(volume, action(script)) as runner:
        changed(volume, A, B)
        await at_rest(volume)
        (failure,) = runner.failures
        assert (failure.reason, failure.paths) == ("exit 4: line 3 is wrong", 2)
        broken.unlink()
        changed(volume, A)
        await at_rest(volume)
        assert runner.failures == []


async def test_a_command_that_is_not_here_and_one_without_an_end_have_failed(volume: Volume, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    absent = ActionSettings(("/conf",), ("no-such-command-anywhere",), APPLIED, (), SETTLE)
    endless = action(f"sleep 60 & echo $$ $! >{pids}; wait", timeout="0.3s")
    async with acting_on(volume, absent, endless) as runner:
        changed(volume, A)
        await at_rest(volume)
        await until(lambda: len(runner.failures) == 2, "both failed")
        assert [failure.reason for failure in runner.failures] == ["it is not installed", "took longer than 0.3s"]
    await until(lambda: not any(map(is_running, pids.read_text().split())), "it was ended with what it had started")


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_it_starts_and_leaves_behind_stays_and_holds_up_nothing(volume: Volume, tmp_path: Path) -> None:
    """Like a service that is restarted, and writes where it was told to."""
    pid, again = tmp_path / "pid", tmp_path / "again"
    async with acting_on(volume, action(f"sleep 60 & echo $! >{pid}; echo x >>{again}")):
        changed(volume, A)
        await at_rest(volume)
        changed(volume, A)
        await at_rest(volume)
        assert again.read_text() == "x\nx\n"
        assert is_running(pid.read_text().strip())
        os.kill(int(pid.read_text()), 9)


async def test_what_changes_while_it_runs_is_told_once_more(volume: Volume, tmp_path: Path) -> None:
    told, go = tmp_path / "told", tmp_path / "go"
    async with acting_on(volume, action(f"cat >>{told}; until test -e {go}; do sleep 0.01; done")):
        changed(volume, A, B)
        await until(told.exists, "it runs")
        changed(volume, B)
        go.touch()
        await at_rest(volume)
    assert told.read_bytes() == b"/srv/files/conf/a\0/srv/files/conf/b\0/srv/files/conf/b\0"


async def test_a_daemon_that_ends_in_the_middle_runs_it_once_more_and_not_for_ever(
    volume: Volume, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    settings = action(f"cat >>{told}; sleep 60")
    for count in range(acting.BEGUN_MAX):
        async with acting_on(volume, settings):
            if not count:
                changed(volume, A)
            await until(lambda: told.exists() and told.stat().st_size == 18 * (count + 1), "it runs")  # noqa: B023
    async with acting_on(volume, settings):
        await at_rest(volume)
    assert told.read_bytes() == b"/srv/files/conf/a\0" * acting.BEGUN_MAX


async def test_what_no_action_is_for_any_more_is_forgotten(volume: Volume, tmp_path: Path) -> None:
    told = tmp_path / "told"
    slow = ActionSettings(("/conf",), ("sh", "-c", f"echo slow >>{told}"), APPLIED, (), "1h")
    async with acting_on(volume, slow) as runner:
        changed(volume, A)
        runner.configure([action(f"echo other >>{told}")], "/srv/files")
        await at_rest(volume)
        changed(volume, A)
        await at_rest(volume)
        await until(told.exists, "the other one runs")
    assert told.read_text() == "other\n"


async def test_what_changes_in_the_moment_in_which_it_is_due_waits_with_it(volume: Volume, tmp_path: Path) -> None:
    """Whoever is woken first in that moment: by chance, so it is tried often."""
    told = tmp_path / "told"
    runner = Actions(volume)
    runner.configure([action(f"cat >>{told}")], "/srv/files")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)
        for _ in range(20):
            changed(volume, A)
            due = trio.current_time() + 0.05
            await trio.sleep(0.03)
            while trio.current_time() < due:  # nobody else runs meanwhile
                pass
            await trio.lowlevel.checkpoint()
            changed(volume, B)
        await at_rest(volume)
        nursery.cancel_scope.cancel()
    assert set(told.read_bytes().split(b"\0")) == {b"/srv/files/" + A, b"/srv/files/" + B, b""}


async def test_what_cannot_be_noted_as_begun_runs_when_the_index_can_be_written_again(
    volume: Volume, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    settings = action(f"cat >>{told}")
    runner = Actions(volume)
    runner.configure([settings], "/srv/files")
    changed(volume, A)
    volume.index._database.connection.execute("PRAGMA query_only = ON")
    with trio.fail_after(20), pytest.raises(UnwritableError):
        await runner.run()
    assert not told.exists()
    volume.index._database.connection.execute("PRAGMA query_only = OFF")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)  # as the worker does after an error
        await at_rest(volume)
        nursery.cancel_scope.cancel()
    assert told.read_bytes() == b"/srv/files/conf/a\0"


async def test_a_conflict_that_comes_while_another_one_that_is_settled_is_told_is_told_too(
    volume: Volume, tmp_path: Path
) -> None:
    told, go = tmp_path / "told", tmp_path / "go"
    settings = action(f"cat >>{told}; until test -e {go}; do sleep 0.01; done", CONFLICT)
    async with acting_on(volume, settings) as runner:
        (one,) = runner._actions
        runner._compare(one, {A})
        await until(told.exists, "it runs")
        runner._compare(one, set())
        runner._compare(one, {B})
        go.touch()
        await at_rest(volume)
        runner._compare(one, {B})
        assert not volume.index.due.actions(), "it was told of once"
    assert told.read_bytes() == b"/srv/files/conf/a\0/srv/files/conf/b\0"


async def test_a_conflict_over_which_the_daemon_ends_is_given_up_and_named(volume: Volume, tmp_path: Path) -> None:
    told = tmp_path / "told"
    settings = action(f"cat >>{told}; sleep 60", CONFLICT)
    for count in range(acting.BEGUN_MAX):
        async with acting_on(volume, settings) as runner:
            runner._compare(runner._actions[0], {A})
            await until(lambda: told.exists() and told.stat().st_size == 18 * (count + 1), "it runs")  # noqa: B023
    async with acting_on(volume, settings) as runner:
        runner._compare(runner._actions[0], {A})
        await at_rest(volume)
        runner._compare(runner._actions[0], {A})
        assert not volume.index.due.actions()
        (failure,) = runner.failures
        assert "given up" in failure.reason
