"""Simulated clusters: random programs, links and crashes from a seed; healed, they are equal and have lost nothing."""

from collections.abc import Callable

import msgspec
import pytest

from csfs.core import versions
from csfs.core.paths import RelPath
from csfs.core.records import E, Half
from csfs.engine import minting, plans, remote
from csfs.engine.ports import Received
from csfs.engine.volume import VolumeEngine
from csfs.wire.messages import Update
from tests.engine.cluster import SCOPE, Cluster, check, check_nothing_lost

POLICIES = [("younger",), ("older",), ("left",), ("right",), ("bigger", "first"), ("merge", "smaller"), ("first",)]
SEEDS_MAX = 400
"""Runs within which a planted fault has to be found."""


def run(seed: int, steps: int = 200) -> Cluster:
    """Return a cluster after a seeded run, healed."""
    cluster = Cluster(seed, 2 + seed % 3, POLICIES[seed % len(POLICIES)])
    cluster.run(steps)
    cluster.heal()
    return cluster


@pytest.mark.slow
@pytest.mark.parametrize("first_seed", range(0, 600, 100))
def test_healed_clusters_are_equal_and_nothing_is_lost(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 100):
        check(run(seed))


@pytest.mark.slow
def test_long_runs_end_equal_too() -> None:
    for seed in range(10_000, 10_030):
        check(run(seed, steps=600))


@pytest.mark.slow
def test_where_the_policy_is_none_nothing_is_lost_and_all_know_the_same() -> None:
    for seed in range(100):
        cluster = Cluster(seed, 2 + seed % 3, ("none",))
        cluster.run(120)
        cluster.heal()
        check_nothing_lost(cluster)
        first, *others = cluster.members
        for other in others:
            for path, row in first.index.rows().items():
                theirs = other.index.row(path)
                assert theirs is not None
                assert theirs.record.content.entries == row.record.content.entries, f"seed {seed}: {path!r}"


@pytest.mark.slow
def test_a_receive_only_member_ends_equal_and_what_was_written_there_is_kept() -> None:
    for seed in range(100):
        cluster = Cluster(seed, 3, POLICIES[seed % len(POLICIES)], receive_only="c")
        cluster.run(150)
        cluster.heal()
        check(cluster)
        assert not any(cluster.authors[one] == "c" for one in cluster.members[0].engine.knowledge()[SCOPE])


def finds(seeds: int = SEEDS_MAX) -> bool:
    """Return whether any run fails its checks."""
    for seed in range(seeds):
        try:
            check(run(seed))
        except AssertionError:
            return True
    return False


def plant_known_for_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is taken for what is shown."""
    observe = VolumeEngine.observe

    def observing(engine: VolumeEngine, path: RelPath, *arguments: object, **options: object) -> bool:
        row = engine._index.row(path)
        if row is not None:
            latest = max((entry.dot for entry in row.record.content.entries), default=None)
            seen = row.record.content.seen
            applied = msgspec.structs.replace(row.applied, content_dot=latest, content_seen=seen)
            engine._index.put(path, msgspec.structs.replace(row, applied=applied))
        return observe(engine, path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(VolumeEngine, "observe", observing)


def plant_knowledge_per_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knowledge advances with each record instead of at the marks."""
    receive = VolumeEngine.receive

    def receiving(
        engine: VolumeEngine, peer: str, scope: versions.Scope, updates: tuple[Update, ...], *rest: object
    ) -> Received:
        received = receive(engine, peer, scope, updates, *rest)  # type: ignore[arg-type]
        for update in updates:
            for dot in remote._dots(update):
                knowledge = engine._index.knowledge(scope)
                engine._index.set_knowledge(scope, versions.with_dot(knowledge, dot))
        return received

    monkeypatch.setattr(VolumeEngine, "receive", receiving)


def plant_no_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry is kept, and given the merged vector."""

    def latest(ours: Half[E], theirs: Half[E]) -> Half[E]:
        entries = sorted([*ours.entries, *theirs.entries], key=lambda entry: (entry.hlc, entry.dot))
        return Half((entries[-1],), versions.joined(ours.seen, theirs.seen))

    monkeypatch.setattr(remote, "halves_joined", latest)


def plant_keep_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losers are displaced like anything else."""
    monkeypatch.setattr(plans, "_must_keep", lambda row, live: False)


def plant_overruled_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry does not say which losers it replaced."""
    monkeypatch.setattr(minting, "_overruled", lambda row, content: ())


def plant_privileges_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setuid stays with whatever bytes come."""
    monkeypatch.setattr("csfs.core.policies.without_privileges", lambda meta: meta)


def plant_mark_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch carries the mark, not the last alone."""
    outgoing = VolumeEngine.outgoing

    def marking(engine: VolumeEngine, *arguments: object) -> object:
        out = outgoing(engine, *arguments)  # type: ignore[arg-type]
        return msgspec.structs.replace(out, mark=engine.knowledge()[SCOPE] if out.scope else None)

    monkeypatch.setattr(VolumeEngine, "outgoing", marking)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        plant_known_for_applied,
        plant_knowledge_per_record,
        plant_no_join,
        plant_keep_forgotten,
        plant_overruled_forgotten,
        plant_privileges_kept,
        plant_mark_from_the_start,
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert finds()
