"""After a power cut: what it left at paths that are not followed any more, and may be again (R11, R24)."""

import pytest

from csfs.core.objects import Observation
from csfs.core.paths import RelPath
from csfs.engine.ports import Step
from tests.engine.members import found, sides
from tests.engine.test_rules import without

F = RelPath(b"f")


@pytest.mark.parametrize("left", [None, found(b"", mtime_ns=5, inode=2)])
def test_what_a_power_cut_left_where_nothing_was_followed_has_replaced_nothing_once_it_is(
    left: Observation | None,
) -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    without(beta, b"f")
    assert not beta.engine.doubt(F, left), "nobody waits for it yet"
    assert not beta.row(b"f").pending
    for side in (alpha, beta):
        without(side, b"other")
    beta.sees(b"f", left)
    alpha.hears(beta)
    if left is None:
        assert alpha.plans(b"f") is None, "nobody has removed it"
        assert (plan := beta.plans(b"f")) is not None
        assert (plan.step, plan.content.size) == (Step.INSTALL, 3)
    else:
        assert len(alpha.row(b"f").record.content.entries) == 2, (
            "it is a version like any other, and the other stands beside it"
        )


def test_what_is_as_it_was_is_known_and_what_never_was_is_not() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"f", found(b"one"))
    alpha.hears(beta)
    before = beta.row(b"f").applied
    without(beta, b"f")
    assert not beta.engine.doubt(F, found(b"one", inode=4))
    assert not beta.engine.doubt(RelPath(b"d/f"), found(b"one")), "of which nothing was ever known"
    assert beta.row(b"f").applied == before
    assert beta.index.row(RelPath(b"d/f")) is None
