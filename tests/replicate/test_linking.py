"""Names of one inode at two members, each with its workers and the gate of a mount, but without a kernel between them.

All is below `d`, of which no kernel knows, so that commits are made underneath.
"""

import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from csfs.config import reader
from csfs.core.changes import Change, ChangeKind
from csfs.core.groups import Rules
from csfs.core.moves import WholeMove
from csfs.core.paths import RelPath
from csfs.index.index import Index
from csfs.journal.journal import Journal
from csfs.mount.capture import Capture
from csfs.mount.gate import Gate as MountGate
from csfs.mount.inodes import Inodes
from csfs.mount.recent import Recent
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.gate import Gate
from csfs.replicate.volume import Volume
from csfs.replicate.worker import VolumeWorker
from csfs.store.hashing import block_hash
from csfs.store.owners import Owners
from csfs.wire.control import CommitResult, CommitResults, Commits, ControlMessage, Link, Outcome, Refresh, Refreshed
from tests.trees import differences

SETTINGS = """
cluster = "web"
[members.alpha]
address = ["127.0.0.1:1"]
[members.beta]
address = ["127.0.0.1:2"]
[volumes.files]
path = "/srv/files"
[[volumes.files.groups]]
members = ["alpha", "beta"]
include = ["/"]
"""
FILE_SIZE_MAX = 1 << 20


def rules_of(member: str, options: str = "") -> Rules:
    return reader.parse(SETTINGS + options, "settings").rules("files", member)


class Killed(BaseException):
    """The mount process ends here, whatever it was about to do."""


class Member:
    """One member: its tree, its workers, and a mount's gate that commits underneath."""

    def __init__(self, directory: Path, name: str, options: str = "") -> None:
        """`options` are further lines of the group's settings."""
        self.name, self.tree = name, directory / name
        (self.tree / "d").mkdir(parents=True)
        index = Index(str(directory / f"{name}.index"), member=name, boot=b"boot", founding=True)
        rules = rules_of(name, options)
        self.volume = Volume("files", index=index, rules=rules, member=name, owners=Owners())
        self.worker = VolumeWorker(self.volume)
        self.root = os.open(self.tree, os.O_RDONLY)
        self.journal = Journal(str(directory / f"{name}.journal"), time.time_ns)
        inodes = Inodes(self.root)
        self.mount = MountGate(inodes, Capture(self.journal, inodes, rules), Recent())
        self.thread = CommitThread(f"commits of {name}")
        self.clone = os.open(self.tree, os.O_RDONLY)
        self.gate = Gate(self._announce, self.clone, self.thread)
        self.commits_max = -1
        """So many commits are made before this member stops; -1: all."""
        self.announced = self.heard = 0
        self.restless: Random | None = None
        """Has commits take their time, and some links be refused."""

    async def _announce(self, message: ControlMessage) -> None:
        if isinstance(message, Refresh):
            self.gate.receive(Refreshed(message.token, ()))
        if not isinstance(message, Commits):
            return
        results = []
        for commit in message.commits:
            if self.commits_max == 0:
                self.gate.close()
                return
            self.commits_max -= self.commits_max > 0
            self.announced += 1
            if self.restless is not None:
                await trio.sleep(self.restless.random() * 0.006)
                if isinstance(commit.action, Link) and self.restless.random() < 0.5:
                    results.append(CommitResult(commit.id, Outcome.REFUSED))
                    continue
            try:
                results += self.mount.take(commit)
            except Killed:
                self.gate.close()
                return
        self.gate.receive(CommitResults(tuple(results)))

    async def attach(self) -> None:
        await self.worker.attach_root(os.dup(self.root))
        self.worker.mount_began(mount=b"mount", clean=True)
        self.worker.attach_gate(self.gate)

    def tell(self, *paths: str) -> None:
        """Programs have done something at these paths."""
        changes = [Change(sequence=0, kind=ChangeKind.CONTENT, path=RelPath(path.encode())) for path in paths]
        self.worker.observer.take_unjournalled(changes)

    async def quiet(self) -> None:
        worker, volume = self.worker, self.volume
        with trio.fail_after(20):
            while True:
                worker.directories.hurry()
                if worker.is_compared and worker.observer.idle and worker.directories.idle and worker.applier.idle:
                    return
                with trio.move_on_after(0.05):
                    await volume.progress.wait()

    def hears(self, other: "Member") -> None:
        """Take in everything that the other one knows, its contents among it, path by path."""
        apart: list[WholeMove] = []
        while True:
            knowledge = self.volume.engine.knowledge()
            out = other.volume.engine.outgoing(self.heard, knowledge, 100, self.name, apart)
            if out.move is not None:
                apart.append(out.move)
                continue
            self.heard = out.position
            for update in out.updates:
                for entry in update.content.entries if update.content is not None else ():
                    path = other.tree / os.fsdecode(update.path)
                    if entry.value.hash and path.is_file():
                        data = path.read_bytes()
                        if block_hash(data) == entry.value.hash:
                            self.volume.contents.put(entry.value.hash, data)
            if out.updates or out.mark is not None:
                with self.volume.index.transaction():
                    received = self.volume.engine.receive(other.name, out.scope, out.updates, out.mark, time.time_ns())
                assert not received.refused
                self.volume.apply_soon(received.touched)
            if out.done:
                return

    async def close(self) -> None:
        await self.gate.release()
        self.thread.stop()
        await self.worker.detach_root()
        self.volume.index.close()
        self.journal.close()
        os.close(self.clone)
        os.close(self.root)


Pair = tuple[Member, Member]


@asynccontextmanager
async def two(directory: Path, options: str = "") -> AsyncIterator[Pair]:
    alpha, beta = Member(directory, "alpha", options), Member(directory, "beta", options)
    async with trio.open_nursery() as nursery:
        for member in (alpha, beta):
            nursery.start_soon(member.worker.run)
            await member.attach()
        try:
            yield alpha, beta
        finally:
            nursery.cancel_scope.cancel()
    for member in (alpha, beta):
        await member.close()


async def settle(alpha: Member, beta: Member) -> None:
    """Both hear of everything, and apply it."""
    for _ in range(3):
        for one, other in ((alpha, beta), (beta, alpha)):
            await one.quiet()
            other.hears(one)
            await other.quiet()


def expect_equal(alpha: Member, beta: Member) -> None:
    # Nobody tells of directories here, whose times are another matter.
    found = differences(str(alpha.tree), str(beta.tree))
    assert [line for line in found if not line.startswith((".: mtime", "d: mtime"))] == []
    for member in (alpha, beta):
        rows = member.volume.index.rows
        assert rows.pending() == []
        assert list(member.volume.engine.conflicts(rows.contested())) == []
        assert member.volume.problems == {}


def sow(member: Member) -> None:
    d = member.tree / "d"
    (d / "a").write_text("linked\n")
    os.link(d / "a", d / "b")
    (d / "c").write_text("another\n")
    os.link(d / "c", d / "e")
    (d / "alone").write_text("alone\n")
    member.tell("d", "d/a", "d/b", "d/alone", "d/c", "d/e")


def append(path: Path, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def replaced(d: Path) -> None:
    (d / "new").write_text("new\n")
    (d / "new").rename(d / "b")


def equal(d: Path) -> None:
    shutil.copy2(d / "a", d / "copy")
    (d / "copy").rename(d / "b")


ACTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "link": (lambda d: os.link(d / "a", d / "n"), ("d/n",)),
    "write through the first": (lambda d: append(d / "a", "more"), ("d/a",)),
    "write through the other": (lambda d: append(d / "b", "more"), ("d/b",)),
    "chmod": (lambda d: (d / "b").chmod(0o600), ("d/b",)),
    "touch": (lambda d: os.utime(d / "b", ns=(1, 1)), ("d/b",)),
    "remove": (lambda d: (d / "a").unlink(), ("d/a",)),
    "replace": (replaced, ("d/b", "d/new")),
    "rename": (lambda d: (d / "a").rename(d / "renamed"), ("d/a", "d/renamed")),
    "link over": (lambda d: ((d / "alone").unlink(), os.link(d / "a", d / "alone")), ("d/alone",)),
    "link to another": (lambda d: ((d / "b").unlink(), os.link(d / "c", d / "b")), ("d/b", "d/c")),
    "an equal file": (equal, ("d/b",)),
    "many": (lambda d: [os.link(d / "a", d / f"n{n}") for n in range(30)], tuple(f"d/n{n}" for n in range(30))),
}


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("act", ACTS)
async def test_what_is_done_to_one_name_is_done_at_the_peer(tmp_path: Path, act: str, seed: int | None) -> None:
    async with two(tmp_path) as (alpha, beta):
        if seed is not None:
            alpha.restless, beta.restless = Random(seed), Random(seed + 100)
        sow(alpha)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        does, paths = ACTS[act]
        does(alpha.tree / "d")
        alpha.tell(*paths)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        for path in sorted((beta.tree / "d").iterdir()):
            append(path, "from the peer\n")
            beta.tell(f"d/{path.name}")
            await trio.sleep(0.003)
        await settle(beta, alpha)
        expect_equal(alpha, beta)


@pytest.mark.parametrize("commits", range(6))
async def test_a_crash_between_two_commits_of_one_inode_is_mended(tmp_path: Path, commits: int) -> None:
    async with two(tmp_path) as (alpha, beta):
        d = alpha.tree / "d"
        sow(alpha)
        os.link(d / "a", d / "g")
        alpha.tell("d/g")
        await settle(alpha, beta)
        append(d / "g", "more")
        (d / "n").write_text("n")
        os.link(d / "n", d / "m")
        alpha.tell("d/g", "d/n", "d/m")
        await alpha.quiet()
        beta.commits_max = commits
        beta.hears(alpha)
        with trio.move_on_after(0.3):
            await beta.quiet()
        # The mount is gone in the middle, and comes back.
        beta.worker.detach_gate(beta.gate)
        beta.commits_max = -1
        beta.gate = Gate(beta._announce, beta.clone, beta.thread)
        beta.worker.mount_began(mount=b"another", clean=False)
        beta.worker.attach_gate(beta.gate)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert [path for path in (beta.tree / ".csfs/stage").iterdir() if path.stat().st_nlink > 1] == []


async def exchanging(*members: Member) -> None:
    """Have two members hear of each other all the time."""
    while True:
        for one, other in (members, members[::-1]):
            one.hears(other)
            await trio.sleep(0.002)


@pytest.mark.parametrize("seed", [None, *range(4)])
@pytest.mark.parametrize("pause_s", [0.0, 0.004])
async def test_what_one_member_writes_through_several_names_is_no_conflict(
    tmp_path: Path, pause_s: float, seed: int | None
) -> None:
    async with two(tmp_path) as (alpha, beta):
        if seed is not None:
            alpha.restless, beta.restless = Random(seed), Random(seed + 100)
        sow(alpha)
        await settle(alpha, beta)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchanging, alpha, beta)
            for number in range(30):
                for member, name in ((alpha, "a"), (alpha, "b")) if number < 15 else ((beta, "b"), (beta, "a")):
                    append(member.tree / "d" / name, f"{number}\n")
                    member.tell("d/a", "d/b")
                    await trio.sleep(pause_s)
                if number == 14:
                    await settle(alpha, beta)
            nursery.cancel_scope.cancel()
        # Who wrote last has every content; what came between is nowhere any more.
        await settle(beta, alpha)
        expect_equal(alpha, beta)
