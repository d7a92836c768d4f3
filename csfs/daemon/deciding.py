"""Carrying out what a person decided about paths: each becomes a change that supersedes all that is known, and can be taken back."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath, ancestors_of
from csfs.core.versions import Dot
from csfs.daemon.places import Place, quoted
from csfs.daemon.versions import obtain
from csfs.errors import ConfigError, NotPermittedError, UnreachableError
from csfs.index.ledger import Cause
from csfs.replicate.contents import CONTENTS_SIZE_MAX
from csfs.replicate.keeping import Promise
from csfs.store.hashing import BLOCK_SIZE

SHOWN_S_MAX = 60.0
AT_ONCE_MAX = 500
"""Paths that one transaction decides."""


@dataclass(slots=True)
class Decision:
    """What is to be live at a path; None leaves a half as it is. `author` of the content is asked for it first.

    `known` are the entries that it was made on: whoever changes the path meanwhile is not overruled. `error` says what came of
    it, empty for nothing wrong.
    """

    path: RelPath
    content: Content | None
    meta: Meta | None
    known: tuple[Dot, ...]
    author: Dot | None = None
    meta_author: Dot | None = None
    error: str = ""


def known_at(place: Place, path: RelPath) -> tuple[Dot, ...]:
    """Return the entries that nothing supersedes at a path."""
    row = place.volume.index.rows.row(path)
    if row is None:
        return ()
    return tuple(entry.dot for half in (row.record.content, row.record.meta) for entry in half.entries)


def check_may_decide(place: Place, path: RelPath) -> None:
    """Make sure that this member may change a path.

    Raises:
        ConfigError: it is not kept the same, or a file is where it needs a directory.
        NotPermittedError: this member only receives it.
    """
    volume = place.volume
    may = volume.engine.may_settle(path)
    if may is None:
        raise ConfigError(f"{place.shown(path)} is not kept the same; csfs config show --json has the patterns")
    if not may:
        raise NotPermittedError(
            f"{place.shown(path)}: this member only receives it; run this on one that may change it"
        )
    if volume.index.ledger.pulling:
        raise ConfigError(f"{place.shown()}: this member has not yet heard what the others have; csfs status says why")
    for directory in ancestors_of(path):
        live = volume.engine.live(directory)
        if live is not None and live.content.kind not in (Kind.DIRECTORY, Kind.ABSENT):
            raise ConfigError(f"{place.shown(directory)} is no directory now; move it away, or use another name")


class Deciding:
    """Carries out decisions of one command in one volume."""

    def __init__(self, place: Place, cause: Cause) -> None:
        self._place = place
        self._cause = cause
        self._volume = place.volume
        self._promises: dict[RelPath, Promise] = {}
        self._wanted: dict[RelPath, tuple[Content | None, Meta | None]] = {}

    async def carry_out(self, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
        """Make the decisions live here; return, for each, what came of it and the command that takes it back.

        What they displace is kept. Peers follow as they do after any change.
        """
        self._wanted = {decision.path: (decision.content, decision.meta) for decision in decisions}
        for portion in _portions(decisions):
            await self._carry_out(portion)
        return [self._told(decision) for decision in decisions]

    async def _carry_out(self, decisions: Sequence[Decision]) -> None:
        async with trio.open_nursery() as nursery:
            for decision in decisions:
                nursery.start_soon(self._obtain, decision)
        keeping = self._place.mounted.worker.applier.keeping
        touched = self._decide(decisions)
        keeping.promises.update({path: self._promises[path] for path in touched})
        try:
            self._volume.apply_soon(touched)
            self._volume.records_changed()
            with trio.move_on_after(SHOWN_S_MAX):
                await self._volume.progress.wait_until(lambda: all(map(self._volume.is_settled, touched)))
        finally:
            for path in touched:
                if keeping.promises.get(path) is self._promises[path]:
                    del keeping.promises[path]
        for decision in decisions:
            if not decision.error and self._volume.is_pending(decision.path):
                problem = self._volume.problems.get(decision.path)
                decision.error = f"decided, and not yet so here: {problem.reason if problem else 'still under way'}"

    def _decide(self, decisions: Sequence[Decision]) -> list[RelPath]:
        """Mint what is decided; return the paths that are to change."""
        touched: list[RelPath] = []
        now_ns = time.time_ns()
        with self._volume.index.transaction():
            for decision in decisions:
                if decision.error or decision.path in touched or decision.path in self._promises:
                    continue  # names of one inode are settled with the first of them
                if known_at(self._place, decision.path) != decision.known:
                    decision.error = "changed meanwhile; run it again"
                    continue
                ours = decision.content, decision.meta
                apart = {path for path, theirs in self._wanted.items() if theirs != ours}
                touched += self._volume.engine.settle(decision.path, *ours, now_ns, apart)
        self._promises.update({path: Promise(self._cause) for path in touched})
        return touched

    async def _obtain(self, decision: Decision) -> None:
        """Have the content here first: what nobody can show must not be what everybody wants."""
        if decision.content is None or decision.content.kind is not Kind.FILE:
            return
        try:
            await obtain(self._place, decision.path, decision.content, decision.author)
        except UnreachableError as error:
            decision.error = str(error)

    def _told(self, decision: Decision) -> dict[str, Any]:
        promise = self._promises.get(decision.path)
        undo = ""
        if promise is not None and promise.name:
            kept = self._volume.index.ledger.kept(decision.path)
            # Retention lets one that is too large go at once.
            version = next((v for v in kept if v.name == promise.name), None)
            if version is not None:
                undo = f"csfs restore {quoted(self._place.name(decision.path) + b'@' + version.id.encode())}"
        return {"path": self._place.shown(decision.path), "error": decision.error, "undo": undo}


def _portions(decisions: Sequence[Decision]) -> Iterator[Sequence[Decision]]:
    """Yield decisions in order, never more at once than can be held: small contents that are fetched wait in memory."""
    portion: list[Decision] = []
    size = 0
    for decision in decisions:
        content = decision.content.size if decision.content is not None else 0
        small = content if content <= BLOCK_SIZE else 0
        if portion and (len(portion) >= AT_ONCE_MAX or size + small > CONTENTS_SIZE_MAX // 2):
            yield portion
            portion, size = [], 0
        portion.append(decision)
        size += small
    if portion:
        yield portion
