"""Asking a peer for contents, and what it has: numbered requests, and the answers that come back in any order."""

import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence

import trio

from csfs.core.changes import Extent
from csfs.core.tables import HASH_SIZE, SEGMENT_DIGEST_SIZE
from csfs.core.versions import Scope
from csfs.engine.ports import Outgoing
from csfs.errors import RemoteProtocolError, UnreachableError
from csfs.store.segments import Segment
from csfs.wire.messages import (
    CLAIMS_MAX,
    SUMMARY_HASHES_MAX,
    Answer,
    Blocks,
    Claim,
    Followed,
    GetBlocks,
    GetPages,
    GetParts,
    GetRecords,
    GetSights,
    GetSummary,
    Moved,
    Pages,
    Part,
    Parts,
    PeerMessage,
    Question,
    Sight,
    Sights,
    Summary,
    Told,
    Unavailable,
    Update,
    Vouch,
    Vouched,
)
from csfs.wire.segments import Extents, GetExtents, GetSegments, Segments

REQUEST_S_MAX = 60.0
VOUCH_S_MAX = 15.0
MOVE_S_MAX = 5.0
"""Nothing else of the volume is told meanwhile."""
"""So long a peer remembers that it is to say when it has something; who still wants to know asks again."""
SIGHTS_S_MAX = 3_600.0
"""One file may be a whole disk, and is read to its end."""


class Asking:
    """The questions to one peer that are under way. Implements `fetcher.Requester`."""

    def __init__(self, send: Callable[[PeerMessage], Awaitable[None]]) -> None:
        self._send = send
        self._requests: dict[int, trio.MemorySendChannel[Answer | Vouched | Followed | None]] = {}
        self._request_ids = itertools.count(1)
        self._contents_heard = 0

    def close(self) -> None:
        """The link is gone: nothing will be answered."""
        for slot in self._requests.values():
            slot.close()

    def answered(self, message: Answer | Vouched | Followed | Unavailable) -> None:
        """Take in an answer; one that nobody waits for any more is let go."""
        self._contents_heard += isinstance(message, Blocks | Segments | Extents)
        slot = self._requests.pop(message.request, None)
        if slot is not None:
            slot.send_nowait(None if isinstance(message, Unavailable) else message)

    async def summary(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        """Return the hashes of the pages of a content's table, None if the peer has it not."""
        hashes = b""
        while len(hashes) < count * HASH_SIZE:
            first = len(hashes) // HASH_SIZE
            answer = await self._ask(lambda request, at=first: GetSummary(volume, request, content_hash, at))  # type: ignore[misc]
            if not isinstance(answer, Summary) or answer.first != first or not answer.hashes:
                return None
            if len(answer.hashes) > SUMMARY_HASHES_MAX * HASH_SIZE or answer.count != count:
                return None
            hashes += answer.hashes
        return hashes

    async def pages(self, volume: str, content_hash: bytes, numbers: Sequence[int]) -> Sequence[bytes] | None:
        """Return pages of a content's table, None if the peer has it not."""
        answer = await self._ask(lambda request: GetPages(volume, request, content_hash, tuple(numbers)))
        return answer.pages if isinstance(answer, Pages) and len(answer.pages) == len(numbers) else None

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        """Return blocks of a content, None if the peer has it not."""
        answer = await self._ask(lambda request: GetBlocks(volume, request, content_hash, first, count))
        return answer.blocks if isinstance(answer, Blocks) and answer.first == first else None

    async def segments(
        self, volume: str, content_hash: bytes, first: int, count: int, average: int
    ) -> list[Segment] | None:
        """Return how blocks of a content are cut, None if the peer has it not."""
        answer = await self._ask(lambda request: GetSegments(volume, request, content_hash, first, count, average))
        if not isinstance(answer, Segments) or len(answer.digests) != len(answer.sizes) * SEGMENT_DIGEST_SIZE:
            return None
        digests = (answer.digests[at:][:SEGMENT_DIGEST_SIZE] for at in itertools.count(0, SEGMENT_DIGEST_SIZE))
        return list(zip(answer.sizes, digests, strict=False))

    async def extents(self, volume: str, content_hash: bytes, extents: Sequence[Extent]) -> Sequence[bytes] | None:
        """Return parts of a content, None if the peer has it not."""
        answer = await self._ask(lambda request: GetExtents(volume, request, content_hash, tuple(extents)))
        is_whole = isinstance(answer, Extents) and [len(part) for part in answer.parts] == [size for _, size in extents]
        return answer.parts if isinstance(answer, Extents) and is_whole else None

    async def vouched(self, volume: str, claims: Sequence[Claim], *, durable: bool) -> bool:
        """Return True when the peer has what is claimed; False when it is gone, or does not say so for a long time."""
        for first in range(0, max(1, len(claims)), CLAIMS_MAX):
            portion = tuple(claims[first : first + CLAIMS_MAX])
            answer = None
            # A link that was lost is as good as one that says nothing.
            with trio.move_on_after(VOUCH_S_MAX), contextlib.suppress(UnreachableError, RemoteProtocolError):
                answer = await self._ask(lambda request, part=portion: Vouch(volume, request, part, durable))  # type: ignore[misc]
            if answer is None:
                return False
        return True

    async def followed(self, volume: str, outgoing: Outgoing, token: bytes) -> bool:
        """Return whether the peer has moved a directory, and knows all that came of it."""
        move, scope, position = outgoing.move, outgoing.scope, outgoing.position
        assert move is not None
        answer = await self._ask(lambda request: Moved(volume, request, scope, position, move, token), MOVE_S_MAX)
        return isinstance(answer, Followed) and answer.is_known

    async def parts(self, volume: str, scope: Scope, above: bytes, last: bytes) -> Sequence[Part] | None:
        """Return the parts of a range of live paths, None if the peer does not say."""
        answer = await self._ask(lambda request: GetParts(volume, request, scope, above, last))
        return answer.parts if isinstance(answer, Parts) else None

    async def records(self, volume: str, scope: Scope, paths: Sequence[bytes]) -> list[Update] | None:
        """Return whole records of those of `paths` of which the peer knows anything, None if it does not say."""
        found, left = list[Update](), tuple(paths)
        while left:
            answer = await self._ask(lambda request, asked=left: GetRecords(volume, request, scope, asked))  # type: ignore[misc]
            if not isinstance(answer, Told) or not 0 < answer.count <= len(left):
                return None
            asked = set(left[: answer.count])
            found += [update for update in answer.updates if update.path in asked]
            left = left[answer.count :]
        return found

    async def sights(
        self, volume: str, scope: Scope, above: bytes, last: bytes
    ) -> tuple[bytes, Sequence[Sight]] | None:
        """Return how far an answer reaches, and what the peer's disk shows there, read anew; None if it does not say."""
        answer = await self._ask(lambda request: GetSights(volume, request, scope, above, last), SIGHTS_S_MAX)
        return (answer.reached, answer.found) if isinstance(answer, Sights) else None

    async def _ask(
        self, question: Callable[[int], Question | Vouch | Moved], patience_s: float = REQUEST_S_MAX
    ) -> Answer | Vouched | Followed | None:
        request = next(self._request_ids)
        send, receive = trio.open_memory_channel[Answer | Vouched | Followed | None](1)
        self._requests[request] = send
        try:
            await self._send(question(request))
            heard = -1
            # On a slow link contents that were asked for before are still on their way.
            while heard != self._contents_heard:
                heard = self._contents_heard
                with trio.move_on_after(patience_s):
                    return await receive.receive()
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        finally:
            self._requests.pop(request, None)
        return None
