"""What became of a volume's memory: lost by a restore or a clone, or damaged and mended."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from csfs.core.paths import RelPath, shown
from csfs.replicate.signals import Signal

if TYPE_CHECKING:
    from csfs.replicate.standing import PeerStanding
    from csfs.replicate.volume import Volume

log = logging.getLogger(__name__)

NAMED_MAX = 3
"""Paths named in an alarm; the log has more."""
LOGGED_MAX = 100
CLONED_COUNT = 3
"""Losing the memory so often in one life of the daemon is rather two hosts with one identity than restores."""


class Memory:
    """That of one volume, since the daemon started. `renewed` is called when this member has become another incarnation."""

    def __init__(self, volume: str) -> None:
        self._volume = volume
        self.said = Signal()
        """A peer has said how it stands, or a member that only receives has settled more."""
        self.standings: dict[str, PeerStanding] = {}
        """By connected peer, what is done with what it says of itself."""
        self.renewed: Callable[[], None] = lambda: None
        self._losses: list[str] = []
        """The peers that showed it."""
        self._mended: dict[RelPath, str] = {}
        self._mended_at = 0.0
        self._overlooked: dict[RelPath, None] = {}
        self._overlooked_at = 0.0

    def lost(self, peer: str) -> None:
        """A peer has shown a token that this member does not remember giving."""
        self._losses.append(peer)
        log.error("%s: in quarantine: %s", self._volume, self.reason)
        self.renewed()

    def found(self) -> None:
        """What the peers know is known again."""
        log.warning("%s: caught up with what this member does not remember; replicating again", self._volume)

    def mended(self, peer: str, paths: Sequence[RelPath]) -> None:
        """These differed from what a peer had, though both knew the same, and were made equal."""
        for path in paths[:LOGGED_MAX]:
            log.error("%s: /%s had been lost from the index; %s still had it", self._volume, shown(path), peer)
        self._mended.update(dict.fromkeys(paths, peer))
        self._mended_at = time.time()

    def overlooked(self, paths: Sequence[RelPath]) -> None:
        """These were taken for shown as they are known, and are not; they are planned anew."""
        for path in paths[:LOGGED_MAX]:
            log.error(
                "%s: /%s did not show what is known, and nothing waited for that: it is planned anew",
                self._volume,
                shown(path),
            )
        if paths:
            self._overlooked.update(dict.fromkeys(paths))
            self._overlooked_at = time.time()

    def verified(self) -> None:
        """Everything was compared and is equal: what was mended is no alarm any more."""
        self._mended.clear()
        self._overlooked.clear()

    @property
    def reason(self) -> str:
        """Why this member is in quarantine, and what to do."""
        peer = self._losses[-1] if self._losses else "a peer"
        if len(self._losses) >= CLONED_COUNT:
            return (
                f"{peer} has heard from this member what it does not remember, for the {len(self._losses)}th time: another host "
                "runs with a copy of this member's identity; stop one of them, and have it join under a name of its own"
            )
        return (
            f"{peer} has heard from this member what it does not remember: it was restored from an older copy, or cloned; "
            "it first takes in what the others know, and keeps what it then replaces"
        )

    @property
    def alarms(self) -> list[str]:
        """What a person has to know."""
        alarms = []
        if len(self._losses) >= CLONED_COUNT:
            alarms.append(self.reason)
        if self._mended:
            peers = ", ".join(sorted(set(self._mended.values())))
            alarms.append(
                f"the index had lost what it took for known, and got it back from {peers} "
                f"({_told(self._mended_at)}): {_named(self._mended)}; is a disk failing? csfs verify compares everything"
            )
        if self._overlooked:
            alarms.append(
                f"the index took for shown what was not, and it was planned anew ({_told(self._overlooked_at)}): "
                f"{_named(self._overlooked)}; is a disk failing? csfs verify compares everything"
            )
        return alarms


def outlived(volume: "Volume", peer: str) -> None:
    """A peer has told changes of this member that it has not made. It is another incarnation then, and greets all anew."""
    with volume.index.transaction():
        volume.engine.outlived(peer)
        volume.index.relearn(volume.member)
    volume.memory_lost(peer)


def _told(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _named(paths: Collection[RelPath]) -> str:
    named = ", ".join(f"/{shown(path)}" for path in list(paths)[:NAMED_MAX])
    return f"{named} and {len(paths) - NAMED_MAX} more" if len(paths) > NAMED_MAX else named
