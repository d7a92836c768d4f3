"""`csfs approve`: what the brake holds back, and letting it through or turning it down."""

from typing import Any

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
            return {"waiting": [told for place in self._places.all([]) for told in summary(place)], "errors": []}
        place = self._places.of(name)
        waiting = place.volume.index.braked.below(place.path)
        if not waiting:
            raise ConfigError(f"nothing waits at {place.shown()}; csfs approve lists what waits")
        errors: list[dict[str, Any]] = []
        if not arguments.get("dry_run"):
            if arguments.get("reject"):
                errors = await _turned_down(place, waiting)
            else:
                place.mounted.worker.applier.braking.approve(waiting)
        return {
            "waiting": [],
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


async def _turned_down(place: Place, waiting: list[Waiting]) -> list[dict[str, Any]]:
    """Have what is shown here supersede what waits, for all members; return what could not be done."""
    place.check_mounted()
    check_may_decide(place, place.path)
    await place.catch_up()
    decisions = []
    for one in waiting:
        row = place.volume.index.rows.row(one.path)
        if row is not None and row.applied.observation is not None:
            content, meta = shown_by(row.applied)
            known = known_at(place, one.path)
            decisions.append(Decision(one.path, content, meta, known, row.applied.content_dot))
    results = await Deciding(place, Cause.RESTORED).carry_out(decisions)
    place.mounted.worker.applier.braking.turned_down(waiting)
    return [{"path": result["path"], "error": result["error"]} for result in results if result["error"]]


def _told(place: Place, waiting: Waiting) -> dict[str, Any]:
    return {
        "path": place.shown(waiting.path),
        "member": waiting.loss.member,
        "removed": waiting.loss.removed,
        "since": waiting.since_ns / 1e9,
    }
