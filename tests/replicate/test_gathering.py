import trio
import trio.testing

from csfs.replicate.gathering import BURST_COUNT, GATHER_S, Gathering


async def rounds(count: int, every_s: float, seconds: float) -> int:
    """Return how many rounds about so many paths begin in a time in which something changes all the while."""
    gathering, begun = Gathering(), 0
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        await gathering.wait()
        gathering.began(count)
        begun += 1
        await trio.sleep(every_s)
    return begun


async def test_what_comes_one_by_one_waits_for_nothing(autojump_clock: trio.testing.MockClock) -> None:
    assert await rounds(BURST_COUNT - 1, 0.001, 1.0) >= 990


async def test_in_a_burst_rounds_are_few(autojump_clock: trio.testing.MockClock) -> None:
    assert await rounds(BURST_COUNT, 0.001, 1.0) <= 1.0 / GATHER_S + 1
    assert await rounds(BURST_COUNT, 2 * GATHER_S, 1.0) >= 0.5 / GATHER_S, "who takes longer anyway does not wait"


async def test_the_first_change_after_a_burst_waits_for_nothing(autojump_clock: trio.testing.MockClock) -> None:
    gathering = Gathering()
    gathering.began(1000)
    await trio.sleep(GATHER_S)
    before = trio.current_time()
    await gathering.wait()
    assert trio.current_time() == before
