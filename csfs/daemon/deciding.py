"""Carrying out what a person decided about paths: each becomes a change that supersedes all that is known, and can be taken back."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio

from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath, ancestors_of
from csfs.core.rows import Plan, Step
from csfs.core.versions import Dot
from csfs.daemon.places import Place, quoted
from csfs.errors import ConfigError, NotPermittedError
from csfs.index.ledger import Cause
from csfs.replicate.keeping import Promise

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

    async def carry_out(self, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
        """Make the decisions live here; return, for each, what came of it and the command that takes it back.

        What they displace is kept. Peers follow as they do after any change.
        """
        for at in range(0, len(decisions), AT_ONCE_MAX):
            await self._carry_out(decisions[at : at + AT_ONCE_MAX])
        return [self._told(decision) for decision in decisions]

    async def _carry_out(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            await self._obtain(decision)
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
                if decision.error:
                    continue
                if known_at(self._place, decision.path) != decision.known:
                    decision.error = "changed meanwhile; run it again"
                    continue
                touched += self._volume.engine.settle(decision.path, decision.content, decision.meta, now_ns)
        self._promises.update({path: Promise(self._cause) for path in touched})
        return touched

    async def _obtain(self, decision: Decision) -> None:
        """Have the content here first: what nobody can show must not be what everybody wants."""
        content, row = decision.content, self._volume.index.rows.row(decision.path)
        if content is None or content.kind is not Kind.FILE:
            return
        wanted = Plan(
            path=decision.path,
            step=Step.INSTALL,
            expected=None,
            base=row.applied.observation if row is not None else None,
            content=content,
            meta=None,
            mtime_ns=None,
            keep=False,
            content_dot=decision.author,
            content_seen={},
            meta_dot=None,
            meta_seen={},
        )
        if not await self._place.mounted.worker.sources.obtained(wanted):
            author = self._volume.authors.get(decision.author.incarnation) if decision.author is not None else None
            decision.error = f"nobody reachable has its content; is {author or 'the member that has it'} connected?"

    def _told(self, decision: Decision) -> dict[str, Any]:
        promise = self._promises.get(decision.path)
        undo = ""
        if promise is not None and promise.name:
            version = next(v for v in self._volume.index.ledger.kept(decision.path) if v.name == promise.name)
            undo = f"csfs restore {quoted(self._place.name(decision.path) + b'@' + version.id.encode())}"
        return {"path": self._place.shown(decision.path), "error": decision.error, "undo": undo}
