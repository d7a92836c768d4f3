"""`csfs wait`: until all that was written here before is known, and applied by the connected members."""

from collections.abc import Callable, Iterable, Sequence

import trio

from csfs.daemon.mounts import MountedVolume
from csfs.errors import ConfigError
from csfs.replicate.volume import Exchange, Volume

IsMeeting = Callable[[str], bool]
"""Says of a peer whether there is a link to it on which the two have yet to tell each other what they have."""

HANDED_OVER_S_MAX = 3.0
"""How long after the daemon's start a mount's parent may take to find it: it tries every two seconds."""


def check_going_on(volumes: Iterable[MountedVolume]) -> None:
    """Make sure that what is written to these volumes is sent: what is waited for would never come, or be nothing.

    Raises:
        ConfigError: one stands still.
    """
    for mounted in volumes:
        if mounted.worker.volume.stopped:
            raise ConfigError(f"volume {mounted.worker.volume.name} stands still: {mounted.worker.volume.stopped}")


async def wait_applied(mounted: MountedVolume, members: Sequence[str], named: bool, is_meeting: IsMeeting) -> None:
    """Return when `members`, or those of them that are connected unless they were `named`, have applied all that was written before.

    Or else when the volume has come to stand still.
    """
    async with trio.open_nursery() as nursery:

        async def wait_stopped() -> None:
            volume = mounted.worker.volume
            await volume.progress.wait_until(lambda: bool(volume.stopped))
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait_stopped)
        await _wait_applied(mounted, members, named, is_meeting)
        nursery.cancel_scope.cancel()


async def _wait_applied(mounted: MountedVolume, members: Sequence[str], named: bool, is_meeting: IsMeeting) -> None:
    volume, worker = mounted.worker.volume, mounted.worker
    with trio.move_on_after(HANDED_OVER_S_MAX):
        await volume.progress.wait_until(lambda: mounted.mounted or mounted.is_coming_back or bool(volume.stopped))
    sequence = await _told(mounted)
    # What was written while nothing was mounted, or told by nobody any more, is found by comparing.
    await volume.progress.wait_until(lambda: worker.is_compared)
    await mounted.hear_watch()
    if sequence is not None:
        await volume.progress.wait_until(lambda: worker.observer.digested >= sequence and worker.observer.idle)
    worker.directories.hurry()
    await volume.progress.wait_until(lambda: worker.directories.idle and worker.applier.idle)
    worker.directories.hurry()
    await volume.progress.wait_until(lambda: worker.directories.idle and worker.observer.idle)
    position = volume.index.rows.position()
    for name in members:
        await volume.progress.wait_until(lambda n=name: _has_applied(volume, n, position, named, is_meeting))  # type: ignore[misc]


async def _told(mounted: MountedVolume) -> int | None:
    """Return the last change that the mount knows of, once it has told all up to it; None if there is no mount.

    One that is on its way is asked once all of it is here: what it noted while no daemon ran is in its rows alone if it missed nothing.
    """
    while True:
        await mounted.worker.volume.progress.wait_until(lambda: not mounted.is_coming_back)
        sequence = await mounted.flush()
        if sequence is not None or not mounted.is_coming_back:
            return sequence


def _has_applied(volume: Volume, peer: str, position: int, named: bool, is_meeting: IsMeeting) -> bool:
    exchange = volume.exchanges.get(peer)
    if exchange is None:
        return not (named or (is_meeting(peer) and volume.scopes(peer)))
    return exchange.sent >= position and exchange.applied >= exchange.last_records


def behind(mounted: MountedVolume, members: Sequence[str], named: bool) -> list[str]:
    """Return what is waited for, a few words each."""
    worker, volume, found = mounted.worker, mounted.worker.volume, list[str]()
    for name in members:
        exchange = volume.exchanges.get(name)
        if exchange is None:
            found += [f"{name} is not connected"] if named else []
        elif count := backlog(volume, exchange):
            found.append(f"{name} lacks {count} change{'s' * (count > 1)} of {volume.name}")
    if worker.observer.looks or mounted.is_coming_back or not (worker.applier.idle and worker.is_compared):
        found.append(f"this member is still busy with {volume.name}")
    return found


def backlog(volume: Volume, exchange: Exchange) -> int:
    """Return how many positions a peer has yet to apply: at least as many as there are changes."""
    unsent = volume.index.rows.position() - exchange.sent
    unapplied = exchange.last_records - exchange.applied if exchange.last_records > exchange.applied else 0
    return max(0, unsent) + max(0, unapplied)
