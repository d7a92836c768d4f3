"""What validators keep out of what members made, so that these can be told."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from csfs.core.paths import RelPath
from csfs.core.versions import Dot, Incarnation
from csfs.replicate.signals import Signal
from csfs.wire import messages
from csfs.wire.messages import REFUSALS_MAX, PeerMessage


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a validator of this member refuses: the version, and what it said."""

    dot: Dot | None
    reason: str


class KeptOut:
    """What one volume's validators keep out, by path."""

    def __init__(self) -> None:
        self.by_path: dict[RelPath, Refusal] = {}
        self._changed = Signal()

    def put(self, path: RelPath, refusal: Refusal) -> None:
        """Note that a version is kept out."""
        if self.by_path.get(path) != refusal:
            self.by_path[path] = refusal
            self._changed.notify()

    def drop(self, path: RelPath) -> None:
        """Nothing is kept out there any more."""
        if self.by_path.pop(path, None) is not None:
            self._changed.notify()

    async def tell(
        self,
        volume: str,
        peer: str,
        authors: Mapping[Incarnation, str],
        send: Callable[[PeerMessage], Awaitable[None]],
    ) -> None:
        """Tell a peer everything that is kept out of what it made, whenever that changes, for ever."""
        told: tuple[messages.Refusal, ...] = ()
        while True:
            now = tuple(
                messages.Refusal(path, refusal.reason)
                for path, refusal in self.by_path.items()
                if refusal.dot is not None and authors.get(refusal.dot.incarnation) == peer
            )[:REFUSALS_MAX]
            if now != told:
                told = now
                await send(messages.Refusals(volume, now))
                continue
            await self._changed.wait()
