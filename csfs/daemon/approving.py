"""`csfs approve`: what the brake holds back, let through or turned down; what a power cut may have left, taken as it is."""

from typing import Any

from csfs.core.objects import Applied, Content, Kind
from csfs.core.paths import RelPath, is_below
from csfs.core.rows import Waiting
from csfs.daemon.deciding import Deciding, Decision, check_may_decide, known_at
from csfs.daemon.places import Handler, Place, Places
from csfs.daemon.versions import shown_by
from csfs.errors import ConfigError
from csfs.index.ledger import Cause

PATHS_TOLD_MAX = 10_000


class Approving:
    """Asks nobody twice: what was let through is carried out, what was turned down is superseded for all members."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def handlers(self) -> dict[str, Handler]:
        """Return what is answered here, by command."""
        return {"approve": self._approve}

    async def _approve(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return what waits, everywhere or at and below a path; there, unless it is a dry run, let it through or turn it down."""
        name = arguments.get("path")
        if not name:
            places = self._places.all([])
            waiting = [told for place in places for told in summary(place)]
            suspects = [_suspect(place, path) for place in places for path in _suspects(place)]
            return {"waiting": waiting, "suspects": suspects[:PATHS_TOLD_MAX], "errors": []}
        return await self._decide(self._places.of(name), bool(arguments.get("reject")), bool(arguments.get("dry_run")))

    async def _decide(self, place: Place, reject: bool, dry_run: bool) -> dict[str, Any]:
        waiting = place.volume.index.braked.below(place.path)
        suspects = [] if reject else _suspects(place)
        if not waiting and not suspects:
            raise ConfigError(f"nothing waits at {place.shown()}; csfs approve lists what waits")
        errors: list[dict[str, Any]] = []
        if waiting and not dry_run and not reject:
            place.mounted.worker.applier.braking.approve(waiting)
        elif waiting and not dry_run:
            errors = await _decided_as_shown(place, [one.path for one in waiting])
            place.mounted.worker.applier.braking.turned_down(waiting)
        told = [_suspect(place, path) for path in suspects[:PATHS_TOLD_MAX]]
        if suspects and not dry_run:
            errors = await _decided_as_shown(place, suspects)
        return {
            "waiting": [],
            "suspects": told,
            "paths": [_told(place, one) for one in waiting[:PATHS_TOLD_MAX]],
            "removed": sum(one.loss.removed for one in waiting),
            "replaced": sum(not one.loss.removed for one in waiting),
            "errors": errors,
        }


def summary(place: Place) -> list[dict[str, Any]]:
    """Return what waits in a volume, by the member whose change it is."""
    return [
        {
            "volume": place.volume.name,
            "path": place.shown(),
            "member": braked.member,
            "removed": braked.removed,
            "replaced": braked.replaced,
            "since": braked.since_ns / 1e9,
        }
        for braked in place.volume.index.braked.summary()
    ]


async def _decided_as_shown(place: Place, paths: list[RelPath]) -> list[dict[str, Any]]:
    """Have what is shown here, or is not there, supersede all that is known, for all members; return what could not be done."""
    place.check_mounted()
    for path in paths:
        check_may_decide(place, path)
    await place.catch_up()
    decisions = []
    for path in paths:
        row = place.volume.index.rows.row(path)
        applied = row.applied if row is not None else Applied(observation=None)
        content, meta = shown_by(applied) if applied.observation is not None else (Content(Kind.ABSENT), None)
        decisions.append(Decision(path, content, meta, known_at(place, path), applied.content_dot))
    results = await Deciding(place, Cause.RESTORED).carry_out(decisions)
    return [{"path": result["path"], "error": result["error"]} for result in results if result["error"]]


def _suspects(place: Place) -> list[RelPath]:
    """Return what a power cut may have left at and below a path."""
    left = place.volume.index.suspects.left()
    return [path for path in left if path == place.path or is_below(path, place.path)]


def _suspect(place: Place, path: RelPath) -> dict[str, Any]:
    row = place.volume.index.rows.row(path)
    found = row.applied.observation if row is not None else None
    kind, size = (found.kind.name.lower(), found.size) if found is not None else ("absent", 0)
    return {"path": place.shown(path), "kind": kind, "size": size}


def _told(place: Place, waiting: Waiting) -> dict[str, Any]:
    return {
        "path": place.shown(waiting.path),
        "member": waiting.loss.member,
        "removed": waiting.loss.removed,
        "since": waiting.since_ns / 1e9,
    }
