"""A move of a directory on the wire: one message and its answer, instead of a record of each path."""

import time
from collections.abc import Awaitable, Callable

from csfs.engine.ports import Outgoing
from csfs.replicate.standing import PeerStanding, hold_token
from csfs.replicate.volume import Exchange, Volume
from csfs.replicate.worker import VolumeWorker
from csfs.wire.messages import Followed, Moved, PeerMessage


async def tell_move(volume: Volume, exchange: Exchange, outgoing: Outgoing, standing: PeerStanding) -> None:
    """Tell a peer of a move, and wait for what it makes of it: only then is it told more, or each path of this one."""
    assert outgoing.move is not None
    assert exchange.asking is not None
    exchange.sending = True
    is_known = await exchange.asking.followed(volume.name, outgoing, standing.take_token())
    exchange.sending = False
    standing.prepare_token()
    if is_known:
        exchange.sent = max(exchange.sent, outgoing.position)
        exchange.last_records = outgoing.position
        exchange.waiting_since_ns = exchange.waiting_since_ns or time.time_ns()
    else:
        exchange.apart.append(outgoing.move)
    volume.progress.notify()


async def hear_move(
    worker: VolumeWorker,
    peer: str,
    index_id: bytes,
    message: Moved,
    send: Callable[[PeerMessage], Awaitable[None]],
) -> None:
    """Follow a move that a peer tells of, and say whether that was possible; one at a time, of others it is to tell each path."""
    volume = worker.volume
    exchange = volume.exchanges[peer]
    if exchange.following:
        await send(Followed(message.request, False))
        return

    def record() -> None:
        hold_token(volume, peer, message.token)
        if not exchange.refused:
            volume.index.ledger.set_cursor(peer, index_id, message.position)

    exchange.following = True
    try:
        is_known = await worker.applier.wholes.follow(peer, message.scope, message.move, record)
    finally:
        exchange.following = False
    if is_known:
        # Its mark, which the peer goes on to tell, is still to come.
        exchange.midstream = True
        exchange.arrives(message.position, set())
        exchange.received = message.position
        volume.progress.notify()
        volume.settled.notify()
    await send(Followed(message.request, is_known))
