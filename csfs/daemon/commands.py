"""What the command line may ask of a running daemon."""

import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import trio

import csfs
from csfs.core.paths import RelPath, shown
from csfs.daemon.approving import Approving
from csfs.daemon.cluster import SKEW_S_MAX, Cluster
from csfs.daemon.happened import Happened
from csfs.daemon.membership import Membership
from csfs.daemon.mounts import MountedVolume
from csfs.daemon.places import Places, quoted
from csfs.daemon.probing import is_mounted
from csfs.daemon.refusing import arguments_of, failed, unknown
from csfs.daemon.resolving import Resolving
from csfs.daemon.restoring import Restoring
from csfs.daemon.unusable import Unusable
from csfs.daemon.verifying import Verification
from csfs.daemon.versions import Versions
from csfs.daemon.waiting import backlog, behind, check_going_on, wait_applied
from csfs.errors import ConfigError, ExitCode, NotRunningError, WaitTimeoutError
from csfs.mount.bypass import Passing
from csfs.replicate.findings import Finding
from csfs.replicate.network import PeerNetwork
from csfs.replicate.progress import SAMPLE_S
from csfs.replicate.volume import Volume
from csfs.replicate.worker import VolumeWorker
from csfs.wire.control import Reply, Request

PROBLEMS_SHOWN_MAX = 100


class Commands:
    """Answers requests; every answer is plain values, as the command line shows them with `--json`."""

    def __init__(
        self,
        cluster: Cluster,
        mounts: Mapping[str, MountedVolume],
        unusable: Unusable,
        network: PeerNetwork,
        reload: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._cluster = cluster
        self._mounts = mounts
        self._unusable = unusable
        self._network = network
        self._reload = reload
        self._places = places = Places(cluster, mounts, unusable)
        self._verification = Verification(places, lambda: set(cluster.peers))
        parts = (
            Versions(places),
            Resolving(places),
            Restoring(places),
            Approving(places),
            Happened(places),
            Membership(cluster, places, network),
        )
        self._others = {name: handler for part in parts for name, handler in part.handlers().items()}

    async def answer(self, request: Request, tell: Callable[[Any], None]) -> Reply:
        """Return the answer to one request; what it raises on purpose becomes its exit code and line.

        `tell` is given what there is to show on the way.
        """
        handlers: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "status": self._status,
            "wait": lambda arguments: self._wait(arguments, tell),
            "compare": self._compare,
            "invite": self._invite,
            "reload": self._reloaded,
            "verify": lambda arguments: self._verification.verify(arguments, tell),
            **self._others,
        }
        handler = handlers.get(request.command)
        if handler is None:
            return unknown(request.command)
        try:
            return Reply(ExitCode.DONE, await handler(arguments_of(request)))
        except Exception as error:
            return failed(request.command, error)

    # ---------------------------------------------------------------------------------------------------------- status

    async def _status(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {
            "member": self._cluster.member,
            "cluster": self._cluster.settings.cluster,
            "version": csfs.__version__,
            "pid": os.getpid(),
            "volumes": [await self._volume_status(name) for name in self._named(arguments.get("path"))],
            "peers": [self._peer_status(name) for name in sorted(self._cluster.peers)],
        }

    def _named(self, path: str | bytes | None) -> list[str]:
        """Return the names of the volumes that a command is about: all, or the one that holds `path`.

        One that the configuration no longer has is among all as long as it is mounted.
        """
        configured = {volume.name for volume in self._cluster.settings.volumes}
        names = configured & {*self._mounts, *self._unusable}
        names |= {name for name, mounted in self._mounts.items() if mounted.mounted}
        if not path:
            return sorted(names)
        volume = self._cluster.settings.volume_at(os.path.normpath(os.fsdecode(path)), self._cluster.member)
        if volume is None or volume.name not in names:
            raise ConfigError(
                f"{shown(os.fsencode(path))} is in no volume of this member; `csfs volume list` shows them"
            )
        return [volume.name]

    def _chosen(self, path: str | bytes | None) -> list[MountedVolume]:
        """Return the volumes that a command is about, all of which can be worked on."""
        names = self._named(path)
        for name in names:
            self._unusable.check(name)
        return [self._mounts[name] for name in names]

    def _path_of(self, name: str) -> str:
        for volume in self._cluster.settings.volumes:
            if volume.name == name:
                return volume.path_of(self._cluster.member) or ""
        return os.fsdecode(self._mounts[name].path)

    async def _volume_status(self, name: str) -> dict[str, Any]:
        if name in self._unusable:
            return self._unusable.described(name, self._path_of(name))
        mounted = self._mounts[name]
        volume = mounted.worker.volume
        live, pending = volume.index.rows.counts()
        state, reason = _state_of(volume)
        refused = _refused_elsewhere(volume)
        return {
            "name": volume.name,
            "path": self._path_of(name),
            "mounted": volume.mounted,
            "state": state,
            "reason": reason,
            "paths": live,
            "pending": pending,
            "conflicts": sum(1 for _ in volume.engine.conflicts(volume.index.rows.contested())),
            "held": len(volume.index.ledger.held()),
            "problems": [
                {"path": shown(problem.path), "reason": problem.reason}
                for problem in islice(volume.problems.values(), PROBLEMS_SHOWN_MAX)
            ]
            + refused,
            "problem_count": len(volume.problems) + len(refused),
            "living_on": [_living_on(path, volume) for path in volume.index.rows.living_on(PROBLEMS_SHOWN_MAX)],
            "unrepresented": [
                {"path": shown(path), "reason": "; ".join(refused)}
                for path, refused in islice(volume.shortcomings.by_path.items(), PROBLEMS_SHOWN_MAX)
            ]
            + [
                {"path": shown(path), "reason": f"ACL: nobody here is {shown(', '.join(strangers).encode())}"}
                for path, strangers in volume.index.strangers.by_path(PROBLEMS_SHOWN_MAX)
            ],
            "unvalidated": [
                {"command": validator.command[0], "paths": list(validator.paths)}
                for validator in mounted.worker.validation.missing()
            ],
            "failed_actions": [
                {
                    "command": list(one.settings.command),
                    "reason": one.reason,
                    "time": one.failed_ns / 1e9,
                    "paths": one.paths,
                }
                for one in mounted.worker.actions.failures
            ],
            "alarms": mounted.alarms,
            "progress": mounted.worker.progress.meter.shown(),
            "journal_backlog": max(0, mounted.worker.observer.last - mounted.worker.observer.digested),
            "bytes_fetched": mounted.worker.fetcher.bytes_fetched,
            "linked_across": [[shown(path), shown(other)] for path, other in volume.across.items()],
            "underneath": _underneath(mounted.worker, await mounted.passing()),
        }

    def _peer_status(self, name: str) -> dict[str, Any]:
        link = self._network.peers_state().get(name)
        exchanges = {
            volume: mounted.worker.volume.exchanges[name]
            for volume, mounted in self._mounts.items()
            if name in mounted.worker.volume.exchanges
        }
        left = {volume: backlog(self._mounts[volume].worker.volume, e) for volume, e in exchanges.items()}
        waiting_ns = [e.waiting_since_ns for e in exchanges.values() if e.waiting_since_ns]
        lag_s = max(0.0, (time.time_ns() - min(waiting_ns)) / 1e9) if waiting_ns else 0.0
        return {
            "name": name,
            "connected": link is not None and link.connected,
            "address": link.remote if link is not None else "",
            "since": link.since_ns / 1e9 if link is not None and link.since_ns else None,
            "error": link.error if link is not None else "",
            "backlog": left,
            "progress": {
                volume: shown for volume, exchange in exchanges.items() if (shown := exchange.meter.shown()) is not None
            },
            "lag_s": lag_s if link is not None and link.connected else None,
            "clock_skew_s": self._cluster.skews.get(name, 0.0),
            "alarms": self._peer_alarms(name) if link is not None and link.connected else [],
            "send_rate": self._cluster.host.send_rate(name),
            "bytes_sent": link.bytes_sent if link is not None else 0,
            "bytes_received": link.bytes_received if link is not None else 0,
        }

    def _peer_alarms(self, name: str) -> list[str]:
        alarms = clock_alarm(self._cluster.skews.get(name, 0.0)), self._cluster.configuration_alarm(name)
        return [alarm for alarm in alarms if alarm]

    # ------------------------------------------------------------------------------------------------------------ wait

    async def _wait(self, arguments: dict[str, Any], tell: Callable[[Any], None]) -> dict[str, list[str]]:
        """Wait for the connected, or the named, members; return who else is to have some of it, and is away.

        Nobody can write to a volume that is not mounted, and what it lacks does not come: it is not waited for.
        """
        chosen, unmounted = await self._serving(arguments.get("path"))
        check_going_on(chosen)
        peers = [str(peer) for peer in arguments.get("peers") or ()]
        for peer in peers:
            if peer not in self._cluster.peers:
                raise ConfigError(f"{peer} is not among the members; `csfs member list` shows them")
        members, timeout_s = peers or sorted(self._cluster.peers), arguments.get("timeout")
        with trio.move_on_after(float("inf") if timeout_s is None else float(timeout_s)) as scope:
            async with trio.open_nursery() as showing:
                showing.start_soon(self._tell_progress, chosen, tell)
                async with trio.open_nursery() as nursery:
                    for mounted in chosen:
                        nursery.start_soon(wait_applied, mounted, members, bool(peers), self._network.is_meeting)
                showing.cancel_scope.cancel()
        if scope.cancelled_caught:
            behind_now = self._behind(chosen, members, named=bool(peers))
            raise WaitTimeoutError(f"not everything was applied within {timeout_s} s: {behind_now}")
        check_going_on(chosen)
        volumes = [mounted.worker.volume for mounted in chosen]
        away = [p for p in self._cluster.peers if any(v.scopes(p) and p not in v.exchanges for v in volumes)]
        return {"away": sorted(away) if not peers else [], "unmounted": unmounted}

    async def _serving(self, path: str | bytes | None) -> tuple[list[MountedVolume], list[str]]:
        """Return the volumes that a command is about and that serve, or are about to; and the names of the others.

        Raises:
            NotRunningError: the one that was asked for does not, or none does.
        """
        serving: list[MountedVolume] = []
        plain: dict[str, bytes] = {}
        for mounted in self._chosen(path):
            name = mounted.worker.volume.name
            place = os.fsencode(self._path_of(name))
            is_there = mounted.mounted or mounted.is_coming_back
            if is_there or (place and await trio.to_thread.run_sync(is_mounted, place)):
                serving.append(mounted)
            elif place:
                plain[name] = place
        if plain and (path or not serving):
            first = next(iter(plain.values()))
            raise NotRunningError(f"{shown(first)} is not mounted; csfs mount {quoted(first)}")
        return serving, sorted(plain)

    async def _tell_progress(self, chosen: list[MountedVolume], tell: Callable[[Any], None]) -> None:
        """Tell every second how far these volumes are, in the shape of the status."""
        while True:
            await trio.sleep(SAMPLE_S)
            volumes = [
                {"name": one.worker.volume.name, "progress": one.worker.progress.meter.shown()} for one in chosen
            ]
            peers = [self._peer_status(name) for name in sorted(self._cluster.peers)]
            tell({"volumes": volumes, "peers": peers})

    def _behind(self, chosen: list[MountedVolume], members: list[str], *, named: bool) -> str:
        found = [one for mounted in chosen for one in behind(mounted, members, named)]
        return "; ".join(found) or "this member is still busy"

    # --------------------------------------------------------------------------------------------------------- compare

    async def _compare(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Compare one volume, or what is below a path of it; return what had been changed without the mount."""
        place = self._places.of(arguments.get("path"))
        volume = place.volume
        if not volume.may_apply:
            raise NotRunningError(f"{place.shown()} is not being replicated now; csfs status says why")
        try:
            count, found = await place.mounted.worker.underneath.compare(place.path)
        except (OSError, trio.ClosedResourceError) as error:
            raise NotRunningError(f"{place.shown()} was unmounted meanwhile: {error}") from error
        if not count and not found:
            place.refuse_unknown()
        return {"volume": volume.name, "paths": count, "changes": [_found(finding) for finding in found]}

    # ----------------------------------------------------------------------------------------------------------- others

    async def _invite(self, arguments: dict[str, Any]) -> dict[str, str]:
        return {"token": self._cluster.invite(str(arguments["member"]), float(arguments.get("expires_s", 3600)))}

    async def _reloaded(self, _arguments: dict[str, Any]) -> list[str]:
        return await self._reload()


def _underneath(worker: VolumeWorker, passing: Iterable[Passing]) -> dict[str, Any]:
    """Return what was changed without the mount, whether that would be noticed at once, and who is likely to do it."""
    underneath, findings = worker.underneath, worker.volume.findings
    return {
        "watched": underneath.is_watch_wanted and worker.volume.mounted and not underneath.unwatched,
        "reason": underneath.unwatched,
        "noticed": underneath.count,
        "count": findings.count,
        "changes": [_found(finding) for finding in findings.recent],
        "passing": [one._asdict() for one in passing],
    }


def _refused_elsewhere(volume: Volume) -> list[dict[str, Any]]:
    """Return what validators of other members keep out of what this one made."""
    return [
        {
            "path": shown(refusal.path),
            "reason": f"not applied at {peer}: {refusal.reason}; correct it, and it is tried again",
        }
        for peer, exchange in volume.exchanges.items()
        for refusal in exchange.refusals
    ]


def _found(finding: Finding) -> dict[str, Any]:
    return {
        "path": shown(finding.path),
        "what": finding.what,
        "time": finding.found_ns / 1e9,
        "pid": finding.culprit.pid or None,
        "program": finding.culprit.program,
    }


def _living_on(path: RelPath, volume: Volume) -> dict[str, str]:
    """Describe a directory that was removed or moved elsewhere, and is there for what was made in it meanwhile."""
    row = volume.index.rows.row(path)
    gone = (
        max(row.record.content.entries, key=lambda entry: (entry.hlc, entry.dot), default=None)
        if row is not None
        else None
    )
    target = next((move.target for move in gone.moves if move.object == gone.birth), None) if gone is not None else None
    return {"path": shown(path), "moved_to": shown(target) if target is not None else ""}


def _state_of(volume: Volume) -> tuple[str, str]:
    if volume.stopped:
        return "stopped", volume.stopped
    if not volume.mounted:
        return "not mounted", ""
    if volume.index.ledger.pulling and not volume.comparing:
        return (
            "pulling",
            "" if volume.exchanges else "no other member is connected; what is here is not sent before one is",
        )
    if volume.engine.is_in_quarantine:
        waits = "" if volume.exchanges else "; no other member is connected"
        return "quarantine", volume.memory.reason + waits
    if volume.comparing or volume.uncompared:
        return "comparing", ""
    return "replicating", ""


def clock_alarm(skew_s: float) -> str:
    """Return what is to be said of a peer's clock, if anything: `younger` and `older` go by what the hosts' clocks say."""
    if abs(skew_s) <= SKEW_S_MAX:
        return ""
    way = "ahead of" if skew_s > 0 else "behind"
    return f"its clock is {abs(skew_s):.1f} s {way} this host's; which version is younger may be decided wrongly"
