"""After a power cut: what was renamed before it, and whose bytes are whole at the new name, or not (R24)."""

from collections.abc import Sequence

import pytest

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.engine.evidence import Evidence
from csfs.engine.ports import Step
from csfs.engine.whereabouts import There
from tests.engine.members import Side, directory, found, sides
from tests.engine.test_power_cut import BOOTED_NS, F, G, change, create, exchange, remove, rename, row

OTHER = {F: G, G: F}


def cut_after(
    change: Change,
    known: dict[RelPath, Observation],
    there: dict[RelPath, Observation | None],
    order: Sequence[RelPath] = (G, F),
    *,
    is_judged: bool = True,
) -> tuple[Side, Side]:
    """Two members had what is `known`; one of them renames it, and finds something there after a power cut, as a look does."""
    alpha, beta = sides("alpha", "beta")
    for path, observation in known.items():
        alpha.sees(path, observation)
    beta.hears(alpha)
    for path, observation in known.items():
        beta.shows(path, observation)
    evidence = Evidence(BOOTED_NS)
    evidence.take(change)

    def stamp_at(path: RelPath) -> Stamp | None:
        look = there[path]
        return look.stamp if look is not None else None

    came = {path: OTHER[path] if there[path] is not None else None for path in order}
    for path in order if is_judged else ():
        beta.engine.judge(evidence, path, there[path], came[path])
    for path in order:
        if beta.engine.is_damage(evidence, path, there[path], came[path], stamp_at):
            beta.engine.doubt(path, there[path])
        else:
            beta.sees(path, there[path], moved_from=came[path], moved_to=OTHER[path] if path in known else None)
    return alpha, beta


BOTH_WAYS = pytest.mark.parametrize("order", [(F, G), (G, F)])
ONE, TWO = found(b"one"), found(b"twos", inode=2)


@BOTH_WAYS
@pytest.mark.parametrize("is_judged", [True, False])
def test_what_was_renamed_and_is_torn_there_comes_back_at_its_old_name_and_goes_nowhere_else(
    order: Sequence[RelPath], is_judged: bool
) -> None:
    """Where nobody has looked at the new name yet, its size tells."""
    alpha, beta = cut_after(rename(F, G), {F: ONE}, {F: None, G: found(b"o")}, order, is_judged=is_judged)
    assert beta.engine.is_torn(G)
    alpha.hears(beta)
    assert alpha.row(b"f").live
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.step, plan.content.size) == (Step.INSTALL, 3)


@BOTH_WAYS
@pytest.mark.parametrize("is_judged", [True, False])
def test_what_was_renamed_and_is_whole_there_is_renamed(order: Sequence[RelPath], is_judged: bool) -> None:
    alpha, beta = cut_after(rename(F, G), {F: ONE}, {F: None, G: ONE}, order, is_judged=is_judged)
    assert not beta.engine.is_torn(G)
    alpha.hears(beta)
    assert not alpha.row(b"f").live
    assert alpha.row(b"g").live


@BOTH_WAYS
@pytest.mark.parametrize("known", [{}, {F: ONE}])
def test_what_was_renamed_and_linked_back_and_is_torn_is_nobodys_under_either_name(
    order: Sequence[RelPath], known: dict[RelPath, Observation]
) -> None:
    """What is found under one of them proves nothing of the other."""
    torn = found(b"ONE", links=2)
    alpha, beta = cut_after(rename(F, G), known, {F: torn, G: torn}, order)
    alpha.hears(beta)
    for path in (F, G):
        assert beta.engine.is_torn(path)
        assert [entry.value.hash for entry in beta.row(path).record.content.entries] == [ONE.hash] * (path in known)
    assert alpha.index.row(G) is None


@BOTH_WAYS
def test_what_was_exchanged_with_what_is_torn_is_whole(order: Sequence[RelPath]) -> None:
    alpha, beta = cut_after(exchange(F, G), {F: ONE, G: TWO}, {F: found(b"TWOS", inode=2), G: ONE}, order)
    assert beta.engine.is_torn(F)
    assert not beta.engine.is_torn(G)
    alpha.hears(beta)
    assert ONE.hash in {entry.value.hash for entry in alpha.row(b"g").record.content.entries}


@BOTH_WAYS
@pytest.mark.parametrize("other", [TWO, directory(inode=2)])
def test_what_took_the_place_of_what_is_torn_where_it_went_has_not_seen_it(
    order: Sequence[RelPath], other: Observation
) -> None:
    torn = found(b"ONE")  # which its stamp does not show
    alpha, beta = cut_after(exchange(F, G), {F: ONE, G: other}, {F: other, G: torn}, order)
    assert beta.engine.is_torn(G)
    alpha.hears(beta)
    left = {entry.value.hash for entry in alpha.row(b"f").record.content.entries}
    assert left == {ONE.hash, other.hash}


@BOTH_WAYS
def test_what_was_exchanged_and_is_whole_is_exchanged(order: Sequence[RelPath]) -> None:
    alpha, beta = cut_after(exchange(F, G), {F: ONE, G: TWO}, {F: TWO, G: ONE}, order)
    assert not beta.engine.is_torn(F)
    assert not beta.engine.is_torn(G)
    alpha.hears(beta)
    live = {path: [entry.value.hash for entry in alpha.row(path).record.content.entries] for path in (F, G)}
    assert live == {F: [TWO.hash], G: [ONE.hash]}


def is_taken(now: Observation | None, *changes: Change, there: int = 0) -> bool:
    """`there` is the inode number of what is at g; what was known at f is 1."""
    evidence = Evidence(BOOTED_NS)
    for one in changes:
        evidence.take(one)
    return evidence.is_taken(F, row(), now, lambda path: There(there if path == G else 0))


@pytest.mark.parametrize("now", [found(b"torn", inode=2), directory(inode=2)])
def test_what_was_taken_away_is_gone_whatever_is_damaged_in_its_place(now: Observation) -> None:
    assert is_taken(now, rename(F, G), there=1)
    assert is_taken(now, remove(F))
    assert not is_taken(now), "nobody says that it went"
    assert not is_taken(now, rename(F, G)), "it is nowhere"
    assert not is_taken(now, rename(F, G), create(F), there=1), "something is to be there: what is known comes back"
    assert not is_taken(found(b"torn"), remove(F)), "it is there, or back"
    assert not is_taken(None, remove(F))


@pytest.mark.parametrize("went", [remove(F), rename(F, G)])
@pytest.mark.parametrize("back", [directory(inode=3), found(b"x", kind=Kind.SYMLINK, inode=3)])
def test_attributes_of_what_was_taken_away_do_not_prove_what_is_found_there(went: Change, back: Observation) -> None:
    """That it is gone is told first: nothing is known there any more when what is found is judged."""
    (alpha,) = sides("alpha")
    alpha.sees(b"f", ONE)
    evidence = Evidence(BOOTED_NS)
    attributes = change(ChangeKind.META, F)
    for one in (attributes, went):
        evidence.take(one)

    def stamp_at(path: RelPath) -> Stamp | None:
        return back.stamp if path == F else ONE.stamp if went.target is not None else None

    assert alpha.engine.is_taken(evidence, F, back, None, stamp_at)
    alpha.sees(b"f", None)
    assert alpha.engine.is_damage(evidence, F, back, None, stamp_at), "nobody says that it was put there"
    evidence.take(attributes)
    assert not alpha.engine.is_damage(evidence, F, back, None, stamp_at), "it has got attributes since"
