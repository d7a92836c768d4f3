"""What others do is told to the volume it concerns, and to none if it concerns none."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from csfs.core.changes import ChangeKind
from csfs.replicate.signals import Signal
from csfs.replicate.watcher import IGNORE_COUNT, Noticed, Watcher
from csfs.store.fanotify import MOVED_FROM, MOVED_TO, Group
from tests.store.conftest import mounted_tmpfs as mounted_tmpfs

Told = tuple[ChangeKind, bytes, bytes | None]
WAIT_S = 10


class Recorded:
    """A volume that remembers what it is told."""

    def __init__(self) -> None:
        self.noticed_so_far: list[Noticed] = []
        self.misses = 0
        self.heard = Signal()

    def noticed(self, found: list[Noticed]) -> None:
        self.noticed_so_far += found
        self.heard.notify()

    def missed(self) -> None:
        self.misses += 1
        self.heard.notify()

    def told(self) -> list[Told]:
        found = [(one.change.kind, bytes(one.change.path), one.change.target) for one in self.noticed_so_far]
        self.noticed_so_far.clear()
        return found


class Scene:
    """Two volumes on one file system, and something beside them."""

    def __init__(self, top: Path, watcher: Watcher) -> None:
        self.top, self.watcher = top, watcher
        self.first, self.second = Recorded(), Recorded()
        for name in ("first", "second", "outside"):
            (top / name / "d").mkdir(parents=True)

    async def attach(self) -> None:
        for volume, name in ((self.first, "first"), (self.second, "second")):
            root = os.open(self.top / name, os.O_RDONLY | os.O_DIRECTORY)
            reason = await self.watcher.attach(volume, root, parent_pid=0, mount_pid=1)
            os.close(root)
            assert reason == ""

    async def run(self, script: str) -> None:
        """Run a shell script above both volumes, and wait until everything up to its end was told."""
        await trio.to_thread.run_sync(lambda: subprocess.run(["sh", "-ec", script], cwd=self.top, check=True))
        subprocess.run(["touch", "last"], cwd=self.top / "second", check=True)
        with trio.fail_after(WAIT_S):
            await self.second.heard.wait_until(lambda: any(told[1] == b"last" for told in self.second.told()))


@pytest.fixture
async def scene(tmp_path: Path, mounted_tmpfs: Callable[..., None], nursery: trio.Nursery) -> AsyncIterator[Scene]:
    top = tmp_path / "top"
    top.mkdir()
    mounted_tmpfs(top)
    watcher = Watcher()
    made = Scene(top, watcher)
    await made.attach()
    nursery.start_soon(watcher.run)
    yield made
    for volume in (made.first, made.second):
        await watcher.detach(volume)


async def test_each_volume_is_told_what_was_done_beneath_it(scene: Scene) -> None:
    await scene.run(
        "echo x > first/d/file; echo y > outside/file; mkdir second/e; mv first/d/file first/g; chmod 1 first/d"
    )
    told = scene.first.told()
    assert (ChangeKind.CREATE, b"d/file", None) in told
    assert (ChangeKind.RENAME, b"d/file", b"g") in told
    assert (ChangeKind.META, b"d", None) in told
    assert {path for _, path, _ in told} == {b"d/file", b"d"}


async def test_who_did_it_is_named(scene: Scene) -> None:
    await scene.run("echo $$ > first/pid")
    [one] = {one.culprit for one in scene.first.noticed_so_far}
    assert one.pid == int((scene.top / "first" / "pid").read_text())


async def test_what_csfs_itself_does_and_the_reserved_directory_are_nobodys_business(scene: Scene) -> None:
    (scene.top / "first" / "own").touch()
    await scene.run("mkdir -p first/.csfs/stage; echo x > first/.csfs/stage/y; mv first/.csfs/stage first/.csfs/kept")
    assert scene.first.told() == []


async def test_what_crosses_the_border_comes_or_goes(scene: Scene) -> None:
    await scene.run("mv first/d outside/e; mv outside/e second/came; mv second/d first/moved")
    assert scene.first.told() == [(ChangeKind.REMOVE, b"d", None), (ChangeKind.CREATE, b"moved", None)]


async def test_a_directory_outside_that_was_ignored_is_told_of_once_it_is_inside(scene: Scene) -> None:
    await scene.run(f"for i in $(seq {2 * IGNORE_COUNT}); do : > outside/d/$i; done")
    await scene.run(": > outside/d/more")  # the kernel was asked to ignore it in between
    before = scene.watcher.seen
    await scene.run(f"for i in $(seq {2 * IGNORE_COUNT}); do : > outside/d/again$i; done")
    assert scene.watcher.seen - before < IGNORE_COUNT
    await scene.run("mv outside/d first/came")
    [(kind, path, _)] = scene.first.told()
    assert (kind, path) == (ChangeKind.CREATE, b"came")
    await scene.run("echo x > first/came/1")
    assert scene.first.told() == [(ChangeKind.CONTENT, b"came/1", None)]


async def test_paths_follow_a_directory_that_csfs_itself_renames(scene: Scene) -> None:
    await scene.run(": > first/d/one")
    scene.first.told()
    (scene.top / "first" / "d").rename(scene.top / "first" / "renamed")
    await scene.run(": > first/renamed/two")
    assert scene.first.told() == [(ChangeKind.CREATE, b"renamed/two", None)]


async def test_more_than_can_be_told_is_missed_by_every_volume(scene: Scene) -> None:
    limit = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    for number in range(limit + 1):  # in one step: nobody reads meanwhile
        os.mkfifo(scene.top / "outside" / str(number))
    with trio.fail_after(WAIT_S):
        await scene.second.heard.wait_until(lambda: bool(scene.first.misses and scene.second.misses))
    await scene.run(": > first/after")
    assert scene.first.told() == [(ChangeKind.CREATE, b"after", None)]


async def test_what_is_too_deep_for_a_path_is_missed_by_its_own_volume(scene: Scene) -> None:
    deeper = "for i in $(seq 20); do mkdir $(printf %0250d 0); cd -P $(printf %0250d 0); done; : > file"
    await scene.run(f"cd outside; {deeper}")
    assert (scene.first.misses, scene.second.misses) == (0, 0)
    await scene.run(f"cd first; {deeper}")
    with trio.fail_after(WAIT_S):
        await scene.first.heard.wait_until(lambda: scene.first.misses > 0)
    assert scene.second.misses == 0


async def test_on_a_kernel_without_whole_renames_both_ends_are_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for volume in (scene.first, scene.second):
        await scene.watcher.detach(volume)

    def old(self: Group) -> None:
        made(self)
        self._renames, self._can_ignore = MOVED_FROM | MOVED_TO, False

    made = Group.__init__
    monkeypatch.setattr(Group, "__init__", old)
    await scene.attach()
    await scene.run("mv first/d first/e; mv first/e outside/f; mv outside/f first/g")
    told = scene.first.told()
    assert {path for _, path, _ in told} == {b"d", b"e", b"g"}
    assert {kind for kind, _, _ in told} == {ChangeKind.CREATE}
