"""What a change costs a cluster of many members: who is connected to its author hears of it once, and from nobody else."""

from random import Random

from scripts.simulation.scale import Cluster, Counts

MEMBERS = 8
PATHS = 300
CHANGES = 12


def test_a_record_reaches_each_member_once_however_many_there_are() -> None:
    cluster, random, total = Cluster(MEMBERS, PATHS), Random(1), Counts()
    for number in range(CHANGES):
        cluster.change(random, number)
        total.add(cluster.settle())
    assert (total.messages, total.copies) == (CHANGES * (MEMBERS - 1), CHANGES * (MEMBERS - 1))
    assert total.words <= CHANGES * (MEMBERS - 1) * MEMBERS, "what is known is said once to each"
    first, *others = cluster.members
    for other in others:
        assert other.index.rows().keys() == first.index.rows().keys()
        for path, row in first.index.rows().items():
            assert other.index.rows()[path].record == row.record


def test_changes_at_several_members_at_once_reach_each_member_nearly_once() -> None:
    cluster, random = Cluster(MEMBERS, PATHS), Random(2)
    for number in range(CHANGES):
        cluster.change(random, number)
    assert cluster.settle().copies <= 1.2 * CHANGES * (MEMBERS - 1)
