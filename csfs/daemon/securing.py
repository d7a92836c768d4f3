"""Finds out when enough members have what programs on a mount wait for, and whether most members can be reached at all (R26)."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from csfs.core.groups import Group
from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, shown
from csfs.core.rows import MADE, Row
from csfs.core.synchrony import Mode
from csfs.engine.claims import claim_of, followed_from
from csfs.replicate.signals import Signal
from csfs.replicate.worker import VolumeWorker
from csfs.wire.control import ControlMessage, Leases, Secure, Secured
from csfs.wire.messages import Claim

log = logging.getLogger(__name__)

SECURING_MAX = 2_000
"""Questions of one mount under way; of more, nothing is said: those programs wait as long as their group says."""
LEASE_S = 5.0
"""So long after most members were last heard of, this member may write to a group with a quorum."""
RENEWED_S = 1.0
AGAIN_S = 0.1

Send = Callable[[ControlMessage], Awaitable[None]]


class Securing:
    """Answers the questions of one volume's mount. Each is a task of its own, and none waits for another."""

    def __init__(self, worker: VolumeWorker) -> None:
        self._worker = worker
        self._volume = worker.volume
        self._under_way = 0
        self._late: dict[int, RelPath] = {}
        """By token, what programs went on with before enough members had it."""
        self._heard_s: dict[str, float] = {}
        """By member, when it was asked what it answered last, by time.monotonic."""
        self._asked: set[str] = set()
        self.rules_changed = Signal()

    @property
    def alarm(self) -> str:
        """What programs went on with, and too few members have: a sentence, or nothing."""
        if not self._late:
            return ""
        path = shown(next(iter(self._late.values())))
        changes = "1 change is" if len(self._late) == 1 else f"{len(self._late)} changes are"
        return f"{changes} not on as many members as their groups ask for, {path!r} among them"

    # ------------------------------------------------------------------------------------------------- one question

    async def answer(self, question: Secure, send: Send) -> None:
        """Answer once enough members have what is asked about."""
        if self._under_way >= SECURING_MAX:
            return
        self._under_way += 1
        try:
            await self._reach(question)
            await send(Secured(question.token))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the mount is gone, or asks again
        except Exception:
            log.exception("%s: unexpected error; a program waits as long as its group says", self._volume.name)
        finally:
            self._under_way -= 1
            self._late.pop(question.token, None)
            self._volume.progress.notify()

    async def _reach(self, question: Secure) -> None:
        timeouts = [self._volume.rules.synchrony_of(path).timeout_s for path in question.paths]
        with trio.move_on_after(0 if question.overdue else min(timeouts, default=0)) as scope:
            await self._secured(question)
        if scope.cancelled_caught:
            self._late[question.token] = question.paths[0] if question.paths else ROOT
            log.warning("%s: too few members have %s in time", self._volume.name, shown(self._late[question.token]))
            await self._secured(question)

    async def _secured(self, question: Secure) -> None:
        """Return when enough members of each path's group have what is there."""
        has_looked = self._worker.observer.has_looked
        await self._volume.progress.wait_until(
            lambda: has_looked(question.paths, question.sequence, below=question.moved)
        )
        rows: list[tuple[RelPath, Row]] = []

        def is_decided() -> bool:
            """What is in doubt stands for no version that anybody could have, until it is made anew (R8)."""
            rows[:] = self._rows(question)
            return not any(row.doubt & MADE for _, row in rows)

        await self._volume.progress.wait_until(is_decided)
        claims: dict[Group, list[Claim]] = {}
        for path, row in rows:
            group = self._volume.rules.group_of(path)
            if group is not None and self._volume.rules.synchrony_of(path).waits:
                claims.setdefault(group, []).append(claim_of(path, row))
        for group, claimed in claims.items():
            await self._claimed(group, claimed)

    def _rows(self, question: Secure) -> list[tuple[RelPath, Row]]:
        rows = self._volume.index.rows
        found = {path: row for path in question.paths if (row := rows.row(path)) is not None}
        # The mount asks by the name that was written to, after a restart, too.
        found |= {path: row for name in question.paths for path, row in followed_from(rows, name)}
        for path, row in list(found.items()):
            shown_now = row.applied.observation
            was_directory = any(entry.value.kind is Kind.DIRECTORY for entry in row.record.content.entries)
            if question.moved and (shown_now is None or shown_now.kind is Kind.DIRECTORY or was_directory):
                found.update(rows.rows_below(path))
        return list(found.items())

    async def _claimed(self, group: Group, claims: Sequence[Claim]) -> None:
        """Return when as many members have these versions as the group asks for."""
        synchrony, others = group.synchrony, self._others(group)
        needed = synchrony.needed(len(group.members))
        having: set[str] = set()
        more = Signal()

        async def ask(member: str) -> None:
            while True:
                if await self._has(member, claims, durable=synchrony.is_durable):
                    having.add(member)
                    more.notify()
                    return
                await trio.sleep(AGAIN_S)

        async with trio.open_nursery() as nursery:
            for member in others:
                nursery.start_soon(ask, member)
            if synchrony.mode is Mode.QUORUM:
                # This member counts as one that has it.
                await self._worker.durability.reach()
            await more.wait_until(lambda: len(having) >= needed)
            nursery.cancel_scope.cancel()

    async def _has(self, member: str, claims: Sequence[Claim], *, durable: bool) -> bool:
        await self._volume.progress.wait_until(lambda: member in self._volume.exchanges)
        asking = self._volume.exchanges[member].asking
        return asking is not None and await asking.vouched(self._volume.name, claims, durable=durable)

    def _others(self, group: Group) -> list[str]:
        return [member for member in group.members if member != self._volume.member]

    # ----------------------------------------------------------------------------------------------------------- leases

    async def keep_leases(self, send: Send) -> None:
        """Tell the mount, for as long as it is connected, up to when groups with a quorum may be written."""
        async with trio.open_nursery() as nursery:
            while True:
                groups = self._volume.rules.with_quorum()
                for member in {member for group in groups for member in self._others(group)} - self._asked:
                    self._asked.add(member)
                    nursery.start_soon(self._probe, member, send)
                if not groups:
                    await self.rules_changed.wait()
                    continue
                await self._tell_leases(send)
                await trio.sleep(RENEWED_S)

    async def _probe(self, member: str, send: Send) -> None:
        """Find out whether a member can be reached now: nothing is claimed, and it answers at once."""
        asked_s = time.monotonic()
        has_answered = False
        try:
            with trio.move_on_after(LEASE_S):
                has_answered = await self._has(member, (), durable=False)
        finally:
            self._asked.discard(member)
        if has_answered:
            was_silent = self._heard_s.get(member, 0.0) + LEASE_S < asked_s
            self._heard_s[member] = asked_s
            if was_silent:
                await self._tell_leases(send)  # outside of the time limit: half a message would break the connection

    async def _tell_leases(self, send: Send) -> None:
        await send(Leases({group.scope: self._lease(group) for group in self._volume.rules.with_quorum()}))

    def _lease(self, group: Group) -> float:
        """Return up to when most members are taken for reachable; counted from when they were asked, not from when they answered."""
        needed = group.synchrony.needed(len(group.members))
        heard = sorted((self._heard_s.get(member, 0.0) for member in self._others(group)), reverse=True)
        since_s = heard[needed - 1] if needed else time.monotonic()
        return since_s + LEASE_S
