"""Decisions among programs, cuts and crashes: healed, all members are equal, and nothing is lost that nobody had seen."""

import pytest

from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, ancestors_of
from csfs.core.records import ContentEntry
from csfs.engine.ports import Row
from csfs.engine.settling import meta_for
from scripts.simulation.checks import check
from scripts.simulation.cluster import Cluster
from scripts.simulation.dice import Dice
from scripts.simulation.host import Host
from scripts.simulation.plan import Act, Action
from scripts.simulation.planning import made
from scripts.simulation.tree import hash_of

MEMBERS = 4
STEPS = 200
TURNS = 3
"""One in so many applications is followed by a decision."""


class Deciding(Cluster):
    """A cluster in which people settle conflicts, and bring versions back, at any moment."""

    decisions = 0

    def _apply(self, action: Action, host: Host, dice: Dice) -> None:
        super()._apply(action, host, dice)
        if dice.below(TURNS) or host.pulling or host.intents:
            return
        rows = [item for item in sorted(host.index.rows().items()) if _may_decide(host, *item)]
        contested = [item for item in rows if len(item[1].record.content.entries) > 1]
        if rows:
            self._decide(host, *dice.choice(contested or rows), dice)

    def _crash(self, action: Action, host: Host, dice: Dice) -> None:
        """What was fetched for a decision has arrived: what nobody has any more is another matter."""
        cache = dict(host.cache)
        super()._crash(action, host, dice)
        host.cache.update(cache)

    def _decide(self, host: Host, path: RelPath, row: Row, dice: Dice) -> None:
        entry = dice.choice(_files(row))
        data = host.contents(entry.value.hash)
        metas = [meta for meta in row.record.meta.entries if meta.kind is Kind.FILE]
        meta = meta_for(dice.choice(metas), entry.value) if metas and dice.below(2) else entry.snapshot
        if data is None or meta is None:
            return
        host.cache[entry.value.hash] = data
        host.engine.settle(path, entry.value, meta, self.now(host))
        self.ledger.steps += 1
        self.ledger.gave(path, host.name, meta.mode)
        host.index.commit()
        self.decisions += 1
        # Whoever decides about a path has seen what was moved away from it.
        self.ledger.aware.add(data)
        written = {hash_of(content): content for content in self.ledger.written}
        passed_over = {other.value.hash for other in _files(row)} - {entry.value.hash}
        self.ledger.replaced |= {written[one] for one in passed_over if one in written}


def _files(row: Row) -> list[ContentEntry]:
    return [entry for entry in row.record.content.entries if entry.value.kind is Kind.FILE]


def _may_decide(host: Host, path: RelPath, row: Row) -> bool:
    """Return whether the command would do anything: as `csfs.daemon.deciding` asks."""
    lives = [host.engine.live(directory) for directory in ancestors_of(path)]
    kinds = {live.content.kind for live in lives if live is not None} - {Kind.DIRECTORY, Kind.ABSENT}
    is_leaf = path != ROOT and not host.index.has_live_below(path)
    return bool(is_leaf and not kinds and _files(row) and host.engine.may_settle(path))


@pytest.mark.parametrize("first_seed", range(0, 60, 20))
def test_clusters_in_which_people_decide_end_equal_too(first_seed: int) -> None:
    decisions = 0
    for seed in range(first_seed, first_seed + 20):
        plan = made(seed, MEMBERS, STEPS)
        if plan.acts() & {Act.RESTORE, Act.CLONE}:
            continue
        cluster = Deciding(plan)
        cluster.begin()
        cluster.run()
        cluster.heal()
        check(cluster)
        decisions += cluster.decisions
    assert decisions
