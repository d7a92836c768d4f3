"""A directory with a gate over it that no kernel has mounted, and what chattr sets there."""

import os
import subprocess
import time
from pathlib import Path

from csfs.config.settings import VolumeRules
from csfs.core.groups import GroupRule, Rules
from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.core.treatment import Treatment
from csfs.journal.journal import IN_MEMORY, Journal
from csfs.mount import lifting
from csfs.mount.capture import Capture
from csfs.mount.gate import Gate
from csfs.mount.inodes import Inodes
from csfs.mount.recent import Recent
from csfs.store import redo
from csfs.store.attributes import stamp_of
from csfs.store.flags import flags_of
from csfs.store.hashing import BLOCK_SIZE, block_hash
from csfs.store.overwriting import write_log
from csfs.wire.control import Action, Commit, Outcome, Overwrite


def chattr(flags: str, *paths: Path) -> None:
    subprocess.run(["chattr", flags, *paths], check=True)


def flags_at(path: Path) -> bytes:
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return flags_of(descriptor)
    finally:
        os.close(descriptor)


class Underneath:
    """A directory with a gate over it, of which no kernel knows anything: commits are made underneath."""

    def __init__(self, directory: Path, *, keeps: bool = True) -> None:
        self.path = directory
        for name in ("d", ".csfs/stage", ".csfs/kept"):
            (directory / name).mkdir(parents=True)
        (directory / "d/old").write_bytes(b"old")
        self.root = os.open(directory, os.O_RDONLY)
        self._ids = iter(range(1, 1_000))
        self.follow(GroupRule(("alpha",), treatment=Treatment(flags=keeps)))

    def follow(self, *groups: GroupRule) -> None:
        """Do as these groups say, as the member alpha."""
        self.rules = Rules.compiled(VolumeRules("v", groups), "alpha")
        inodes = Inodes(self.root)
        journal = Journal(IN_MEMORY, time.time_ns)
        self.gate = Gate(inodes, Capture(journal, inodes, self.rules), Recent())

    def stage(self, content: bytes = b"new") -> bytes:
        (self.path / ".csfs/stage/0.1").write_bytes(content)
        return b"0.1"

    def prepare(self, path: str, new: bytes) -> Overwrite:
        """Prepare to overwrite a small file with as many bytes."""
        expected = self.stamp(path)
        assert expected is not None
        steps, blocks = (redo.Written(((0, new[:1]), (1, new[1:])), len(new)),), ((0, block_hash(new)),)
        log = redo.Redo(RelPath(path.encode()), redo.boot_id(), expected, steps, 5, BLOCK_SIZE, blocks)
        stage = os.open(self.path / ".csfs/stage", os.O_RDONLY)
        try:
            write_log(stage, b"1.1", log)
        finally:
            os.close(stage)
        return Overwrite(b"1.1")

    def stamp(self, name: str) -> Stamp | None:
        try:
            return stamp_of((self.path / name).lstat())
        except FileNotFoundError:
            return None

    def take(self, name: str, action: Action) -> tuple[Outcome, tuple[tuple[bytes, int], ...]]:
        """Have a commit made; return what became of it, and what was left out."""
        commit = Commit(next(self._ids), 0, RelPath(name.encode()), self.stamp(name), action)
        (result,) = self.gate.take(commit)
        if result.outcome is Outcome.DONE:
            assert result.stamp == self.stamp(name), "the stamp is the one that is shown when all is done"
            assert not os.path.lexists(self.path / ".csfs/lifted")
        return result.outcome, result.left_out

    def recovered(self) -> list[str]:
        """Do what a mount process does before it serves; return what it told."""
        told: list[str] = []
        lifts = lifting.Lifting(self.root, self.rules)
        lifts.recover(told.append)
        stage = os.open(self.path / ".csfs/stage", os.O_RDONLY)
        try:
            redo.recover(self.root, stage, told.append, opened=lifts.opened)
        finally:
            os.close(stage)
        return told

    def recover(self) -> list[str]:
        """The same, where nothing is left to do afterwards."""
        told = self.recovered()
        assert not os.path.lexists(self.path / ".csfs/lifted")
        return told

    def close(self) -> None:
        subprocess.run(["chattr", "-R", "-f", "-ia", self.path], check=False)
        os.close(self.root)
