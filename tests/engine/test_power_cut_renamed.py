"""After a power cut: what was renamed before it, and whose bytes are whole at the new name, or not (R24)."""

from csfs.core.objects import Observation
from csfs.core.paths import RelPath
from csfs.engine.evidence import Evidence
from csfs.engine.ports import Step
from csfs.engine.whereabouts import There
from tests.engine.members import Side, found, sides
from tests.engine.test_power_cut import BOOTED_NS, F, G, rename


def cut_after_rename(there: Observation) -> tuple[Side, Side]:
    """Two members that had `one` at f; beta renames it to g, and finds this there after a power cut, as a look does."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    evidence = Evidence(BOOTED_NS)
    evidence.take(rename(F, G))

    def there_at(path: RelPath) -> There:
        return There(int(path == G), beta.engine.is_torn(path))

    for path, look in ((G, there), (F, None)):
        row = beta.index.row(path)
        if evidence.is_damage(path, row, look, beta.row(b"f").applied.observation, there_at):
            beta.engine.doubt(path, look)
        elif path == G:
            beta.sees(path, look, moved_from=F)
        else:
            beta.sees(path, look, moved_to=G)
    return alpha, beta


def test_what_was_renamed_and_is_torn_there_comes_back_at_its_old_name_and_goes_nowhere_else() -> None:
    alpha, beta = cut_after_rename(found(b"o"))
    assert beta.engine.is_torn(G)
    alpha.hears(beta)
    assert alpha.row(b"f").live
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.step, plan.content.size) == (Step.INSTALL, 3)


def test_what_was_renamed_and_is_whole_there_is_renamed() -> None:
    alpha, beta = cut_after_rename(found(b"one"))
    assert not beta.engine.is_torn(G)
    alpha.hears(beta)
    assert not alpha.row(b"f").live
    assert alpha.row(b"g").live
