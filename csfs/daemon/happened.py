"""`csfs log`: what changed lately, ours and the peers', and what changes next."""

from typing import Any

import trio

from csfs.daemon.places import Handler, Place, Places
from csfs.replicate.happenings import Happening

WAIT_S_MAX = 60.0
LIMIT_MAX = 10_000


class Happened:
    """Tells what happened."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def handlers(self) -> dict[str, Handler]:
        """Return what is answered here, by command."""
        return {"log": self._log}

    async def _log(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the latest after number `after`, ascending; with `wait_s`, as soon as there is one, or the time is up."""
        path, after = arguments.get("path"), int(arguments.get("after") or 0)
        limit = min(int(arguments.get("limit") or LIMIT_MAX), LIMIT_MAX)
        places = self._places.all([path] if path is not None else None)
        with trio.move_on_after(min(float(arguments.get("wait_s") or 0), WAIT_S_MAX)):
            while not _found(places, after, 1):
                await _more(places)
        found = _found(places, after, limit)
        return {"changes": [_told(place, happening) for place, happening in found]}


def _found(places: list[Place], after: int, limit: int) -> list[tuple[Place, Happening]]:
    found = [(place, one) for place in places for one in place.volume.happenings.since(after, place.path)]
    return sorted(found, key=lambda item: item[1].number)[-limit:]


async def _more(places: list[Place]) -> None:
    """Return when something has happened in one of the volumes."""
    async with trio.open_nursery() as nursery:

        async def wait(place: Place) -> None:
            await place.volume.happenings.more.wait()
            nursery.cancel_scope.cancel()

        for place in places:
            nursery.start_soon(wait, place)


def _told(place: Place, happening: Happening) -> dict[str, Any]:
    writer = happening.writer
    return {
        "number": happening.number,
        "time": happening.time_ns / 1e9,
        "path": place.shown(happening.path),
        "what": happening.what,
        "member": happening.member,
        "uid": writer.uid if writer.program else None,
        "program": writer.program,
    }
