"""A group that has had a great many incarnations: its index is as small as another's, and what is lost there comes back."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_memory import index_apart, index_of, settled, verify
from tests.trees import differences

FILES = 30
LIVES = 1_000
LARGE_SIZE = 5_000
"""Less than one vector of them takes."""


@pytest.fixture
def members(tmp_path: Path) -> Iterator[tuple[Member, Member]]:
    """Two members that know of a thousand lives of each other, and have files that were made since."""
    with two_members(tmp_path / "m") as pair:
        alpha, _ = pair
        (alpha.tree / "before").write_text("before")
        settled(*pair)
        with index_apart(alpha) as index:
            live_often(index)
        for number in range(FILES):
            (alpha.tree / f"file{number}").write_text(str(number))
        settled(*pair)
        yield pair
        expect_calm_logs(*pair)


def live_often(index: sqlite3.Connection) -> None:
    """Have a member know of changes of a thousand incarnations that have ended."""
    dice = random.Random(1)
    ((scope,),) = index.execute("SELECT DISTINCT scope FROM knowledge")
    rows = [(scope, dice.getrandbits(62) | 1, dice.randrange(1, 100_000)) for _ in range(LIVES)]
    index.executemany("INSERT INTO knowledge VALUES (?, ?, ?)", rows)


def large_rows(member: Member) -> int:
    """Return how many rows have their vectors in themselves."""
    ((count,),) = index_of(member, f"SELECT count(*) FROM rows WHERE length(row) > {LARGE_SIZE}")
    return int(count)


def test_a_large_vector_is_in_the_index_once_and_when_it_is_lost_its_rows_come_back_from_the_other(
    members: tuple[Member, Member],
) -> None:
    alpha, beta = members
    for member in members:
        assert large_rows(member) <= 2, "one of them was there before it was shared"
        assert index_of(member, "SELECT count(*) FROM vectors WHERE length(vector) > 10000") == [(1,)]
    with index_apart(beta) as index:
        index.execute("DELETE FROM vectors")
    replicating(*members)
    until(lambda: "the index does not say any more what it said of /file7" in beta.logs(), "beta finds out")
    names = "SELECT count(*) FROM rows WHERE CAST(path AS TEXT) LIKE 'file%'"
    until(lambda: index_of(beta, names) == [(FILES,)], "they are back")
    (alpha.tree / "file7").write_text("and goes on")
    (beta.tree / "file8").write_text("and goes on")
    for member in members:
        member.wait()
    assert differences(str(alpha.tree), str(beta.tree)) == []
    assert (beta.tree / "file7").read_text() == (alpha.tree / "file8").read_text() == "and goes on"
    assert not beta.volume()["conflicts"]
    assert verify(beta) == verify(alpha) == []
