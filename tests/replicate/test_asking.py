"""Questions to a peer: how long an answer is waited for."""

import trio
import trio.testing

from csfs.replicate.asking import REQUEST_S_MAX, Asking
from csfs.wire.messages import Blocks


async def test_contents_are_waited_for_as_long_as_others_arrive_before_them(nursery, autojump_clock) -> None:
    sent, found = [], {}

    async def send(message) -> None:
        sent.append(message)

    asking = Asking(send)

    async def ask(number: int) -> None:
        found[number] = await asking.blocks("files", b"h", number, 1)

    for number in range(10):
        nursery.start_soon(ask, number)
    await trio.testing.wait_all_tasks_blocked()
    for question in sorted(sent, key=lambda question: question.first)[:9]:
        await trio.sleep(0.7 * REQUEST_S_MAX)
        asking.answered(Blocks(question.request, question.first, (b"data",)))
    await trio.sleep(0.1)
    assert {number: blocks for number, blocks in found.items()} == dict.fromkeys(range(9), (b"data",))
    await trio.sleep(2 * REQUEST_S_MAX)
    assert found[9] is None, "a peer that says nothing any more is given up"
