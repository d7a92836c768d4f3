"""Contents leave at the rate that is set; nothing else waits, and another rate counts at once."""

import random

import trio
import trio.testing

from csfs.replicate.rate import Bucket
from csfs.wire.messages import Blocks, Heartbeat, Stored
from tests.replicate.test_link import Pace, greeted

KIB = 1024
BLOCK = 128 * KIB


def incompressible(size: int, seed: int) -> bytes:
    """Return bytes that stay as many on the wire."""

    return random.Random(seed).randbytes(size)


def test_a_bucket_owes_what_was_taken_beyond_its_rate() -> None:
    bucket = Bucket()
    bucket.take(1 << 40, 0)
    assert bucket.wait_s(0) == 0, "without a rate nothing waits"
    bucket.set_rate(100, 10)
    assert bucket.wait_s(10) == 0
    bucket.take(300, 10)
    assert bucket.wait_s(10) == 2
    assert bucket.wait_s(11) == 1
    assert bucket.wait_s(12) == 0
    bucket.take(100, 100)
    assert bucket.wait_s(100) == 0, "no more than a second's worth is saved up"
    bucket.take(1, 100)
    assert bucket.wait_s(100) > 0
    bucket.set_rate(100, 100)
    assert bucket.wait_s(100) > 0, "the same rate again forgives nothing"
    bucket.set_rate(None, 100)
    assert bucket.wait_s(100) == 0


async def test_contents_leave_at_the_rate_and_words_at_once(nursery, autojump_clock) -> None:
    ash, elm = await greeted(nursery)
    ash.set_rate(BLOCK)
    begin = trio.current_time()
    for number in range(20):
        nursery.start_soon(ash.send, Blocks(number, 0, (incompressible(BLOCK, number),)))
    await trio.sleep(5)
    await ash.send(Stored("etc", 7, {}))
    arrived = []
    while len(arrived) < 20:
        message = await elm.receive()
        if isinstance(message, Stored):
            assert trio.current_time() - begin < 5.5
        elif not isinstance(message, Heartbeat):
            arrived.append(trio.current_time() - begin)
    assert 17 <= arrived[-1] <= 21, "a second's worth goes at once"
    assert sum(at < 10 for at in arrived) <= 11


async def test_another_rate_counts_at_once(nursery, autojump_clock) -> None:
    ash, elm = await greeted(nursery)
    ash.set_rate(64 * KIB)
    begin = trio.current_time()
    for number in range(16):
        nursery.start_soon(ash.send, Blocks(number, 0, (incompressible(BLOCK, number),)))
    await trio.sleep(3)
    assert ash.is_held_back
    ash.set_rate(None)
    assert not ash.is_held_back
    for _ in range(16):
        while isinstance(await elm.receive(), Heartbeat):
            pass
    assert trio.current_time() - begin < 4


async def test_a_link_that_waits_for_its_rate_is_not_taken_for_dead(nursery, autojump_clock) -> None:
    pace = Pace(heartbeat_s=5, silence_s_max=15)
    ash, elm = await greeted(nursery, pace)
    ash.set_rate(2 * KIB)  # a piece of 64 KiB is half a minute's worth
    for number in range(2):
        await ash.send(Blocks(number, 0, (incompressible(BLOCK, number),)))
    nursery.start_soon(listen, ash)
    numbers = []
    while len(numbers) < 2:
        message = await elm.receive()
        if isinstance(message, Blocks):
            numbers.append(message.request)
    assert trio.current_time() > 60


async def listen(link) -> None:
    while True:
        await link.receive()
