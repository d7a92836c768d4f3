"""Asking a peer for contents: numbered requests, and the answers that come back in any order."""

import itertools
from collections.abc import Awaitable, Callable, Sequence

import trio

from csfs.store.hashing import HASH_SIZE
from csfs.wire.messages import TABLE_HASHES_MAX, Blocks, GetBlocks, GetTable, PeerMessage, Table, Unavailable

REQUEST_S_MAX = 60.0


class Asking:
    """The questions to one peer that are under way. Implements `fetcher.Requester`."""

    def __init__(self, send: Callable[[PeerMessage], Awaitable[None]]) -> None:
        self._send = send
        self._requests: dict[int, trio.MemorySendChannel[Table | Blocks | None]] = {}
        self._request_ids = itertools.count(1)

    def close(self) -> None:
        """The link is gone: nothing will be answered."""
        for slot in self._requests.values():
            slot.close()

    def answered(self, message: Table | Blocks | Unavailable) -> None:
        """Take in an answer; one that nobody waits for any more is let go."""
        slot = self._requests.pop(message.request, None)
        if slot is not None:
            slot.send_nowait(None if isinstance(message, Unavailable) else message)

    async def table(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        """Return the block hashes of a content, None if the peer has it not."""
        hashes = b""
        while len(hashes) < count * HASH_SIZE:
            first = len(hashes) // HASH_SIZE
            answer = await self._ask(lambda request, at=first: GetTable(volume, request, content_hash, at))  # type: ignore[misc]
            if not isinstance(answer, Table) or answer.first != first or not answer.hashes:
                return None
            if len(answer.hashes) > TABLE_HASHES_MAX * HASH_SIZE or answer.count != count:
                return None
            hashes += answer.hashes
        return hashes

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        """Return blocks of a content, None if the peer has it not."""
        answer = await self._ask(lambda request: GetBlocks(volume, request, content_hash, first, count))
        return answer.blocks if isinstance(answer, Blocks) and answer.first == first else None

    async def _ask(self, question: Callable[[int], GetTable | GetBlocks]) -> Table | Blocks | None:
        request = next(self._request_ids)
        send, receive = trio.open_memory_channel[Table | Blocks | None](1)
        self._requests[request] = send
        try:
            await self._send(question(request))
            with trio.move_on_after(REQUEST_S_MAX):
                return await receive.receive()
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        finally:
            self._requests.pop(request, None)
        return None
