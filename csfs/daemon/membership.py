"""`csfs member list` and `remove`: who is of the cluster, and what goes with one who leaves."""

from collections.abc import Callable
from typing import Any

import trio

from csfs.core.objects import Content, Kind
from csfs.core.paths import RelPath
from csfs.core.rows import Row
from csfs.daemon.cluster import Cluster
from csfs.daemon.deciding import Deciding, Decision, known_at
from csfs.daemon.places import Handler, Place, Places
from csfs.daemon.versions import obtain, shown_by
from csfs.errors import ConfigError, UnreachableError
from csfs.index.ledger import Cause
from csfs.replicate.network import PeerNetwork

OBTAINED_AT_ONCE_MAX = 8


class Membership:
    """Answers about members."""

    def __init__(self, cluster: Cluster, places: Places, network: PeerNetwork) -> None:
        self._cluster = cluster
        self._places = places
        self._network = network

    def handlers(self) -> dict[str, Handler]:
        """Return what is answered here, by command."""
        return {"members": self._members, "member_remove": self._remove}

    async def _members(self, _arguments: dict[str, Any]) -> list[dict[str, Any]]:
        states = self._network.peers_state()
        found = []
        for member in self._cluster.settings.members:
            state = states.get(member.name)
            found.append(
                {
                    "name": member.name,
                    "address": [str(address) for address in member.address],
                    "here": member.name == self._cluster.member,
                    "connected": state is not None and state.connected,
                    "since": state.since_ns / 1e9 if state is not None and state.since_ns else None,
                    "error": state.error if state is not None else "",
                }
            )
        return found

    async def _remove(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Remove a member; what it alone had, and others wait for, is superseded by what is shown here."""
        member = str(arguments.get("member") or "")
        self._cluster.check_removable(member)
        places = self._places.all([])
        lost = [(place, decision) for place in places for decision in await _lost(place, member)]
        errors: list[dict[str, Any]] = []
        if not arguments.get("dry_run"):
            for place in places:
                decisions = [decision for at, decision in lost if at is place]
                results = await Deciding(place, Cause.RESOLVED).carry_out(decisions)
                errors += [{"path": r["path"], "error": r["error"]} for r in results if r["error"]]
            self._cluster.remove(member)
        away = [p for p, state in self._network.peers_state().items() if not state.connected and p != member]
        return {
            "member": member,
            "lost": [{"path": place.shown(d.path), "shown": _word(d)} for place, d in lost],
            "not_connected": away,
            "errors": errors,
        }


async def _lost(place: Place, member: str) -> list[Decision]:
    """Return what is to be live where a member's version is wanted, and nobody who can be reached has its content."""
    volume = place.volume
    if not volume.mounted:
        if any(_is_wanted(place, path, member) for path in volume.index.rows.pending()):
            raise ConfigError(f"{place.shown()} is not mounted, and waits for what {member} made; mount it first")
        return []
    await place.catch_up()
    wanted = [path for path in volume.index.rows.pending() if _is_wanted(place, path, member)]
    found: list[Decision] = []
    limit = trio.Semaphore(OBTAINED_AT_ONCE_MAX)
    async with trio.open_nursery() as nursery:
        for path in sorted(wanted):
            nursery.start_soon(_unless_obtained, place, path, found.append, limit)
    return sorted(found, key=lambda decision: decision.path)


def _is_wanted(place: Place, path: RelPath, member: str) -> bool:
    """Return whether the content of a member's version of a path is wanted here, and this member may decide there."""
    live, row = place.volume.engine.live(path), place.volume.index.rows.row(path)
    if row is None or live is None or live.entry is None or live.content.kind is not Kind.FILE:
        return False
    shown = row.applied.observation
    is_here = shown is not None and shown.hash == live.content.hash
    author = place.volume.authors.get(live.entry.dot.incarnation)
    return author == member and not is_here and bool(place.volume.engine.may_settle(path))


async def _unless_obtained(
    place: Place, path: RelPath, lost: Callable[[Decision], None], limit: trio.Semaphore
) -> None:
    live, row = place.volume.engine.live(path), place.volume.index.rows.row(path)
    assert live is not None, "nothing is wanted"
    assert row is not None, "nothing is wanted"
    try:
        async with limit:
            await obtain(place, path, live.content, live.content_dot)
        place.volume.apply_soon([path])
    except UnreachableError:
        lost(_as_shown(place, path, row))


def _as_shown(place: Place, path: RelPath, row: Row) -> Decision:
    """Return the decision that what is shown at a path is live, or nothing where nothing is."""
    applied = row.applied
    content, meta = shown_by(applied) if applied.observation is not None else (Content(Kind.ABSENT), None)
    return Decision(path, content, meta, known_at(place, path), applied.content_dot)


def _word(decision: Decision) -> str:
    return decision.content.kind.name.lower() if decision.content is not None else ""
