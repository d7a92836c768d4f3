"""Who only receives gets back what it took for replaced, and what all who may change it have (R8, R11)."""

from msgspec import structs

from csfs.core.paths import RelPath
from csfs.core.records import Half
from tests.engine.members import Side
from tests.engine.test_mending import differ, receiver_beside_two, walks

PATH = RelPath(b"f")


def receiver_without() -> list[Side]:
    """Return two members with two versions of a path, and one that only receives, for which the one has replaced the other.

    What had been replaced was lost with it: one was restored to before that, and the other had what is left in doubt.
    """
    alpha, beta, gamma = members = receiver_beside_two(PATH)
    left, both = alpha.row(PATH).record.content.entries, gamma.row(PATH).record.content
    for side, content in ((alpha, both), (beta, both), (gamma, Half(left, both.seen))):
        row = side.row(PATH)
        side.index.put(PATH, structs.replace(row, record=structs.replace(row.record, content=content)))
    for side in (alpha, beta):
        gamma.engine.stands(side.name, side.engine.standings(), side.engine.digests())
    return members


def test_a_version_that_was_replaced_in_a_life_that_was_lost_is_back_at_a_receiver() -> None:
    alpha, beta, gamma = receiver_without()
    assert differ(gamma, alpha)
    walks(gamma, alpha)
    assert gamma.row(PATH).record.content == alpha.row(PATH).record.content
    assert gamma.engine.digests() == beta.engine.digests()


def test_a_version_that_was_replaced_stays_away_from_a_receiver_if_anybody_is_away() -> None:
    alpha, _, gamma = receiver_without()
    gamma.engine.parted("beta")
    before = gamma.row(PATH).record
    walks(gamma, alpha)
    assert gamma.row(PATH).record == before
