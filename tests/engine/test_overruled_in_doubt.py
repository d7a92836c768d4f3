"""What a restored member had decided against goes on being known, though what says so is in doubt there (R8)."""

import pytest

from tests.engine.members import found, sides
from tests.engine.test_quarantine import backup, caught_up, hears_anew, in_quarantine, restarted


@pytest.mark.parametrize("settings", [0, 1])
def test_what_is_changed_before_others_were_heard_names_what_had_been_decided_against(settings: int) -> None:
    alpha, beta = sides("alpha", "beta", policy=("left",))
    alpha.sees(b"f", found(b"alpha's"))
    beta.sees(b"f", found(b"beta's", inode=2))
    for one, other in ((alpha, beta), (beta, alpha)):
        one.hears(other)
    assert alpha.plans(b"f") is None
    alpha.engine.stands("beta", beta.engine.standings())
    index = backup(alpha)
    restarted(alpha, index).sees(b"f", found(b"after the restore", mtime_ns=2))
    lost = in_quarantine(alpha, index)
    for setting in range(settings):
        lost.sees(b"f", found(b"after the restore", mtime_ns=2, mode=0o600 + setting))
    lost.sees(b"f", found(b"before others were heard", mtime_ns=3, mode=0o600))
    caught_up(lost, beta)
    hears_anew(beta, lost)
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (found(b"before others were heard").hash, True)
