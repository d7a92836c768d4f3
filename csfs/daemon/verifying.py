"""`csfs verify`: what the disks of members show, read anew, compared with each other."""

from collections.abc import Callable
from typing import Any

import trio

from csfs.core.paths import ROOT
from csfs.daemon.places import Place, Places
from csfs.errors import ConfigError, NotRunningError, UnreachableError
from csfs.replicate.verifying import Difference, Verifying

Tell = Callable[[Any], None]


class Verification:
    """Answers one kind of request, which may take long: it tells how far it is."""

    def __init__(self, places: Places, members: Callable[[], set[str]]) -> None:
        self._places = places
        self._members = members

    async def verify(self, arguments: dict[str, Any], tell: Tell) -> dict[str, Any]:
        """Compare volumes, or what is below a path of one, with peers; with `repair` have mended what is wrong here."""
        path, peer, repair = arguments.get("path"), arguments.get("peer"), bool(arguments.get("repair"))
        if peer is not None and peer not in self._members():
            raise ConfigError(f"{peer} is not among the other members; csfs status shows them")
        places = [self._places.of(path)] if path else self._places.all(None)
        return {"volumes": [await self._place(place, peer, repair, tell) for place in places]}

    async def _place(self, place: Place, peer: str | None, repair: bool, tell: Tell) -> dict[str, Any]:
        volume = place.volume
        place.check_mounted()
        if not volume.may_apply or volume.engine.is_in_quarantine:
            raise NotRunningError(f"{place.shown()} is not being replicated now; csfs status says why")
        peers = [peer] if peer is not None else sorted(volume.memory.standings)
        if not peers or any(name not in volume.memory.standings for name in peers):
            raise UnreachableError(
                f"{peer or 'no other member'} of volume {volume.name} is connected now; csfs status says more"
            )
        await place.catch_up()
        compared = []
        for name in peers:
            try:
                compared.append(await self._peer(place, name, repair, tell))
            except trio.ClosedResourceError as error:
                raise NotRunningError(f"{place.shown()} was unmounted meanwhile: {error}") from error
        if not any(one["paths"] or one["differences"] for one in compared):
            place.refuse_unknown()
        if place.path == ROOT and peer is None and not any(one["differences"] for one in compared):
            volume.memory.verified()
        return {"volume": volume.name, "peers": compared}

    async def _peer(self, place: Place, peer: str, repair: bool, tell: Tell) -> dict[str, Any]:
        volume = place.volume
        standing = volume.memory.standings.get(peer)
        if standing is None:
            raise UnreachableError(f"{peer} is not connected any more; run it again")
        verifying = Verifying(
            place.mounted.worker,
            standing,
            lambda paths: tell({"volume": volume.name, "peer": peer, "paths": paths}),
        )
        found = _answered(await verifying.differences(place.path), peer)
        paths, left = verifying.paths, found
        if repair and found:
            await verifying.repair(found)
            left = _answered(await verifying.again(), peer)
        still = {one.path for one in left}
        differences = [
            {"path": place.shown(one.path), "what": one.what, "repaired": repair and one.path not in still}
            for one in found
        ]
        return {"peer": peer, "paths": paths, "differences": differences}


def _answered(found: list[Difference] | None, peer: str) -> list[Difference]:
    if found is None:
        raise UnreachableError(f"{peer} did not answer to the end: is its volume mounted, and is it still connected?")
    return found
