"""What came with messages of records: when all of it is stored, and on disk, which the peer is told."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from csfs.core.paths import RelPath
from csfs.core.records import write_of
from csfs.replicate.volume import Arrival, Exchange, Volume
from csfs.replicate.worker import VolumeWorker
from csfs.wire.messages import AppliedUpTo, PeerMessage, Stored, Update

ACKNOWLEDGE_S = 0.005


async def acknowledge(worker: VolumeWorker, peer: str, send: Callable[[PeerMessage], Awaitable[None]]) -> None:
    """Tell a peer what is stored here and what is on disk of what it sent, for ever."""
    volume = worker.volume
    exchange = volume.exchanges[peer]
    while True:
        position, received = exchange.reported, exchange.received
        while exchange.arrived and is_applied(worker, exchange.arrived[0]):
            position = max(position, exchange.arrived.popleft().position)
        is_news = received > exchange.acknowledged or position > exchange.reported
        if received > exchange.acknowledged or _has_learnt(volume, exchange):
            exchange.acknowledged, exchange.told = received, dict(volume.engine.knowledge())
            await send(Stored(volume.name, received, exchange.told))
        if position > exchange.reported:
            exchange.reported = position
            await send(AppliedUpTo(volume.name, position, len(volume.problems)))
        # While something was said, more may have been settled: nobody would wake us for it.
        if exchange.received == received and not is_news:
            await volume.settled.wait()
        # What arrived goes to disk first: nobody waits for these words so much.
        await trio.sleep(ACKNOWLEDGE_S)


def ask_ahead(volume: Volume, updates: Sequence[Update]) -> None:
    """Have the index ask at once for what the engine is about to ask for of these updates, one by one."""
    paths = [RelPath(update.path) for update in updates]
    halves = (update.content for update in updates if update.content is not None)
    volume.index.rows.ask_ahead(paths, (), (write_of(entry) for half in halves for entry in half.entries))


def _has_learnt(volume: Volume, exchange: Exchange) -> bool:
    """Return whether we know something of others that the peer has not been told that we know; else it would tell us."""
    ours = volume.index.incarnation
    return any(
        incarnation != ours and exchange.told.get(scope, {}).get(incarnation, 0) < counter
        for scope, knowledge in volume.engine.knowledge().items()
        for incarnation, counter in knowledge.items()
    )


def is_applied(worker: VolumeWorker, arrival: Arrival) -> bool:
    """Return whether all that came with one message is on disk, the times of the directories that it touched included."""
    if arrival.marks < 0:
        if arrival.waits_for is not None and not worker.volume.is_settled(arrival.waits_for):
            return False
        arrival.paths = {path for path in arrival.paths if not worker.volume.is_settled(path)}
        arrival.waits_for = next(iter(arrival.paths), None)
        if arrival.paths:
            return False
        arrival.marks = worker.directories.marks
    if worker.directories.settled < arrival.marks:
        return False
    return worker.applier.idle
