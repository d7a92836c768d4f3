"""What the mount kept before a program here destroyed it becomes a version, once, and goes again where nothing was destroyed."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate import aside
from csfs.replicate.directories import Directories
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Volume
from csfs.store.attributes import stamp_of
from csfs.store.hashing import hash_bytes
from tests.replicate.test_fetcher import made_volume

FILE = RelPath(b"f")
KEPT, CONTENT, REMOVE = ChangeKind.KEPT, ChangeKind.CONTENT, ChangeKind.REMOVE


class Host:
    """A volume, its observer, and what its mount does and tells."""

    def __init__(self, volume: Volume, tree: Path) -> None:
        self.volume, self.file, self.store = volume, tree / "f", tree / ".csfs/kept"
        self.observer = Observer(volume, Directories(volume))
        self.told: list[Change] = []
        self._sequence = 0

    def begin(self, nursery: trio.Nursery) -> None:
        """Observe, with a mount that has just connected."""
        self.observer.start_journal(b"j", self.volume.index.ledger.digested(b"j"))
        nursery.start_soon(self.observer.run)

    def tell(self, kind: ChangeKind, *, kept: bytes = b"", writing: bool = False, stamp: Stamp | None = None) -> None:
        """Have the next row say something about the file; `deliver` sends it."""
        self._sequence += 1
        sequence = self._sequence
        row = Change(
            sequence=sequence, kind=kind, path=FILE, kept=kept, writing=writing, stamp=stamp, time_ns=1_000 + sequence
        )
        self.told.append(row)

    def write(self, content: bytes, *, kept: str = "", writing: bool = False) -> None:
        """Have a program write the file, after the mount has kept what it held as `kept`."""
        if kept:
            self.keep(kept, writing=True)
        self.file.write_bytes(content)
        self.tell(CONTENT, writing=writing)

    def remove(self, kept: str) -> None:
        """Have a program remove the file, which the mount keeps."""
        stamp = stamp_of(self.file.stat())
        os.rename(self.file, self.store / kept)
        self.tell(KEPT, kept=kept.encode(), stamp=stamp)
        self.tell(REMOVE)

    def keep(self, kept: str, *, writing: bool) -> None:
        (self.store / kept).write_bytes(self.file.read_bytes())
        self.tell(KEPT, kept=kept.encode(), stamp=stamp_of(self.file.stat()), writing=writing)

    async def deliver(self) -> None:
        """Tell the rows, and return when they are digested, and what goes is gone."""
        rows, self.told = self.told, []
        self.observer.take(rows)
        with trio.fail_after(5):
            await self.volume.progress.wait_until(lambda: self.observer.idle)
        await trio.testing.wait_all_tasks_blocked(0.05)

    def versions(self) -> list[tuple[str, bytes, Cause]]:
        """Return the versions of the file that have objects, the oldest first: their names, contents, and why they went."""
        kept = [one for one in reversed(self.volume.index.ledger.kept(FILE)) if one.size]
        for version in kept:
            assert version.hash == hash_bytes((self.store / os.fsdecode(version.name)).read_bytes())[0]
            assert version.member == "alpha"
        names = sorted(os.fsdecode(version.name) for version in kept)
        assert sorted(os.listdir(self.store)) == names, "no object without a version"
        return [(os.fsdecode(one.name), (self.store / os.fsdecode(one.name)).read_bytes(), one.cause) for one in kept]

    def noted(self) -> list[KeptVersion]:
        """Return the versions that have no object."""
        return [version for version in self.volume.index.ledger.kept(FILE) if not version.size]


@pytest.fixture
async def host(tmp_path: Path, nursery: trio.Nursery) -> Host:
    volume = made_volume(tmp_path)
    volume.nursery = nursery
    made = Host(volume, tmp_path / "tree")
    made.begin(nursery)
    return made


async def seen(host: Host, content: bytes = b"one") -> None:
    """Have the daemon know the file."""
    host.write(content)
    await host.deliver()


async def test_what_was_kept_is_a_version_and_is_not_noted_a_second_time(host: Host) -> None:
    await seen(host)
    host.write(b"two", kept="a")
    await host.deliver()
    assert host.versions() == [("a", b"one", Cause.REPLACED)]
    host.remove("b")
    await host.deliver()
    assert host.versions()[1:] == [("b", b"two", Cause.REMOVED)]
    assert host.noted() == []
    assert [version.kept_ns for version in host.volume.index.ledger.kept(FILE)] == [1_004, 1_002], "when they went"


async def test_what_was_never_looked_at_is_a_version_too(host: Host) -> None:
    await seen(host)
    host.write(b"two", kept="a")
    host.write(b"three", kept="b")
    host.remove("c")
    await host.deliver()
    assert host.versions() == [
        ("a", b"one", Cause.REPLACED),
        ("b", b"two", Cause.REPLACED),
        ("c", b"three", Cause.REMOVED),
    ]
    assert host.noted() == []
    host.write(b"four")
    host.remove("d")
    await host.deliver()
    assert host.versions()[3:] == [("d", b"four", Cause.REMOVED)], "nobody ever knew that it was there"


async def test_what_is_written_again_as_it_was_is_no_version(host: Host) -> None:
    await seen(host)
    for _ in range(3):
        host.write(b"one", kept="a")
        await host.deliver()
        assert host.versions() == host.noted() == []
    host.write(b"two", kept="b")
    host.write(b"one", kept="c")
    await host.deliver()
    assert [content for _, content, _ in host.versions()] == [b"one", b"two"]


async def test_while_it_is_written_what_is_the_same_again_stays(host: Host) -> None:
    await seen(host)
    host.write(b"one", kept="a", writing=True)
    await host.deliver()
    assert [name for name, _, _ in host.versions()] == ["a"], "of what is written now nothing else is kept"
    host.write(b"two")
    await host.deliver()
    assert host.versions() == [("a", b"one", Cause.REPLACED)]
    assert host.noted() == []
    host.write(b"two", kept="b", writing=True)
    await host.deliver()
    host.write(b"two")
    await host.deliver()
    assert [name for name, _, _ in host.versions()] == ["a"], "it was closed as it was"


async def test_a_known_content_is_not_read_and_one_that_may_be_another_is(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    look_at_kept = aside.look_at_kept
    monkeypatch.setattr(aside, "look_at_kept", lambda root, name: read.append(name) or look_at_kept(root, name))
    old_ns = 10**18
    host.file.write_bytes(b"one")
    os.utime(host.file, ns=(old_ns, old_ns))
    await trio.sleep(0.05)
    host.tell(CONTENT)
    await host.deliver()
    row = host.volume.index.rows.row(FILE)
    assert row is not None
    assert not row.applied.racy
    host.write(b"two", kept="a")
    await host.deliver()
    assert read == []
    (version,) = host.volume.index.ledger.kept(FILE)
    assert version.applied.content_dot == row.applied.content_dot, "who wrote it is known"
    host.file.write_bytes(b"six")
    os.utime(host.file, ns=(old_ns, old_ns))
    host.write(b"ten", kept="b")
    await host.deliver()
    assert read == [b"b"]
    assert [content for _, content, _ in host.versions()] == [b"one", b"six"]


async def test_a_row_whose_object_is_gone_or_cut_short_says_nothing(host: Host) -> None:
    await seen(host)
    host.keep("a", writing=False)
    host.keep("b", writing=False)
    (host.store / "a").unlink()
    (host.store / "b").write_bytes(b"")
    host.write(b"two")
    await host.deliver()
    assert host.versions() == []
    assert [version.hash for version in host.noted()] == [hash_bytes(b"one")[0]]


async def test_rows_that_are_told_again_make_no_second_version(host: Host, nursery: trio.Nursery) -> None:
    await seen(host)
    host.write(b"two", kept="a")
    rows = list(host.told)
    host.observer.take(rows)
    await host.deliver()
    again = Host(host.volume, host.file.parent)
    again.begin(nursery)
    again.told = rows
    await again.deliver()
    assert again.versions() == [("a", b"one", Cause.REPLACED)]
    assert host.volume.index.ledger.kept_count == 1
    assert again.observer.digested == rows[-1].sequence


async def test_what_no_row_follows_is_looked_at_in_a_while(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "UNTOLD_S_MAX", 0.05)
    await seen(host)
    host.keep("a", writing=False)
    await host.deliver()
    assert host.versions() == host.noted() == [], "what was to destroy it has failed"


async def test_versions_that_were_destroyed_here_are_under_retention_like_all(host: Host) -> None:
    await seen(host)
    for number in range(12):
        host.write(b"%d" % number, kept=f"k{number:02}")
        await host.deliver()
    surplus = host.volume.index.ledger.surplus(count_max=10, bytes_max=10**9, before_ns=0, rows_max=100)
    assert sorted(surplus) == [b"k00", b"k01"]


async def test_what_was_kept_waits_quietly_while_the_others_have_to_be_heard_first(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seen(host)
    host.volume.index.ledger.set_pulling(True)
    rounds: list[object] = []
    finish = host.observer._finish
    monkeypatch.setattr(host.observer, "_finish", lambda found: rounds.append(found) or finish(found))
    host.write(b"two", kept="a")
    rows, host.told = host.told, []
    host.observer.take(rows)
    await trio.sleep(0.3)
    assert len(rounds) < 10
    host.volume.index.ledger.set_pulling(False)
    host.tell(CONTENT)
    await host.deliver()
    assert host.versions() == [("a", b"one", Cause.REPLACED)]
