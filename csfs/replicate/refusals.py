"""Tells members what validators here keep out of what they made."""

from collections.abc import Awaitable, Callable

from csfs.replicate.volume import Volume
from csfs.wire.messages import REFUSALS_MAX, PeerMessage, Refusal, Refusals


async def tell_refusals(volume: Volume, peer: str, send: Callable[[PeerMessage], Awaitable[None]]) -> None:
    """Tell a peer everything that is kept out of what it made, whenever that changes, for ever."""
    told: tuple[Refusal, ...] = ()
    while True:
        now = tuple(
            Refusal(path, refusal.reason)
            for path, refusal in volume.refusals.items()
            if refusal.dot is not None and volume.authors.get(refusal.dot.incarnation) == peer
        )[:REFUSALS_MAX]
        if now != told:
            told = now
            await send(Refusals(volume.name, now))
            continue
        await volume.refusals_changed.wait()
