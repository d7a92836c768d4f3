"""Both members write without pause while their daemons and mounts are killed, one after the other."""

import errno
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scripts.demonstration.comparing import DifferentError, sample
from scripts.demonstration.screen import Screen, milliseconds
from scripts.support.members import Member, kill, until

FILES = 40
SIZE_MAX = 20_000
PAUSE_S = 0.002
WRITES_BETWEEN = 60
DEAD = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.EIO})
"""What a program gets from a mount whose process was killed, until the directory is back."""


class Writer(threading.Thread):
    """A program at one member that saves files, over each other, and says again what was refused."""

    def __init__(self, member: Member, seed: int) -> None:
        super().__init__(daemon=True)
        self.member = member
        self.directory = member.tree / "storm" / member.name
        self.directory.mkdir(parents=True)
        self.saved: dict[str, bytes] = {}
        self.writes = 0
        self.refusals = 0
        self.failure: BaseException | None = None
        self._dice = random.Random(seed)
        self._ending = threading.Event()

    def run(self) -> None:
        """Write until told to stop."""
        try:
            while not self._ending.wait(PAUSE_S):
                name = f"file-{self._dice.randrange(FILES)}"
                content = self._dice.randbytes(self._dice.randrange(SIZE_MAX))
                self._repeated(lambda name=name, content=content: self._save(name, content))  # type: ignore[misc]
                self.saved[name] = hashlib.sha256(content).digest()
                self.writes += 1
        except BaseException as error:
            self.failure = error

    def _repeated(self, write: Callable[[], None]) -> None:
        while True:
            try:
                write()
                return
            except OSError as error:
                if error.errno not in DEAD:
                    raise
                self.refusals += 1
                time.sleep(PAUSE_S)

    def _save(self, name: str, content: bytes) -> None:
        """Save like an editor, or, a third of the time, in place."""
        if len(content) % 3 == 0:
            (self.directory / name).write_bytes(content)
            return
        unfinished = self.directory / f".{name}.new"
        unfinished.write_bytes(content)
        os.replace(unfinished, self.directory / name)

    def end(self) -> None:
        """Return when the last write is done."""
        self._ending.set()
        self.join(30)
        if self.failure is not None or self.is_alive():
            raise DifferentError(f"writing at {self.member.name} failed: {self.failure or 'it hangs'}")

    def lost(self, tree: Path) -> list[str]:
        """Return the files that do not hold, in that tree, what was saved last."""
        there = tree / "storm" / self.member.name
        return [
            f"storm/{self.member.name}/{name}: not what was saved last"
            for name, digest in sorted(self.saved.items())
            if not (there / name).exists() or hashlib.sha256((there / name).read_bytes()).digest() != digest
        ]


def kill_daemon(member: Member, writers: list[Writer]) -> None:
    """Kill a daemon, let writing go on without it, and start it again."""
    member.kill_daemon()
    _wait_written(writers)
    member.start_daemon()


def kill_mount(member: Member, writers: list[Writer]) -> None:
    """Kill a mount process; its parent mounts again by itself."""
    pid = member.mount_pid
    kill(pid, signal.SIGKILL)
    until(lambda: member.mount_pid != pid and os.path.ismount(member.tree), f"{member.name} is mounted again")
    _wait_written(writers)


def _wait_written(writers: list[Writer]) -> None:
    """Return when each has written a little more, or cannot."""
    goals = [writer.writes + WRITES_BETWEEN for writer in writers]
    until(
        lambda: all(
            writer.writes >= goal or writer.failure is not None for writer, goal in zip(writers, goals, strict=True)
        ),
        "programs go on writing",
    )


KILLS: tuple[tuple[int, str, Callable[[Member, list[Writer]], None]], ...] = (
    (1, "kill -9 of its daemon, started again", kill_daemon),
    (0, "kill -9 of its mount, back by itself", kill_mount),
    (0, "kill -9 of its daemon, started again", kill_daemon),
    (1, "kill -9 of its mount, back by itself", kill_mount),
)


def storm(screen: Screen, members: tuple[Member, ...], wait: Callable[[], None]) -> None:
    """Write at both, kill each process once, and return when both are equal and hold what was written.

    Raises:
        DifferentError: something is lost.
    """
    writers = [Writer(member, seed) for seed, member in enumerate(members)]
    for writer in writers:
        writer.start()
    try:
        _wait_written(writers)
        for which, what, how in KILLS:
            begin, written, refused = time.perf_counter(), _sum(writers, "writes"), _sum(writers, "refusals")
            how(members[which], writers)
            screen.row(
                members[which].name,
                what,
                milliseconds(time.perf_counter() - begin),
                f"{_sum(writers, 'writes') - written} writes",
                f"{_sum(writers, 'refusals') - refused} refused",
                style="yellow",
            )
    finally:
        for writer in writers:
            writer.end()
    begin = time.perf_counter()
    with screen.busy("waiting until both are equal"):
        wait()
    screen.row("both", "all written is on both sides", milliseconds(time.perf_counter() - begin), style="green")
    lost = [line for member in members for writer in writers for line in writer.lost(member.tree)]
    if lost:
        raise DifferentError(f"lost:\n{sample(lost)}")


def _sum(writers: list[Writer], field: str) -> int:
    return sum(getattr(writer, field) for writer in writers)
