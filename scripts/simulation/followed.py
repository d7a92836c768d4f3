"""What must hold of edits that follow moves in a healed cluster (R15)."""

from collections import Counter

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.policies import NONE, origin_of
from scripts.simulation.cluster import Cluster
from scripts.simulation.plan import Act
from scripts.simulation.tree import hash_of


def check_followed(cluster: Cluster) -> int:
    """What was written into a file under a name that it no longer had is where the file is; return how often that was so.

    Unless the author is gone, or has something else of its own where the file went, or who set its time since has.
    """
    disturbed = cluster.plan.acts() & {Act.RESTORE, Act.JOIN, Act.LEAVE}
    if cluster.changed_rules or disturbed or NONE in cluster.shape.policy:
        return 0
    ledger, count = cluster.ledger, 0
    for host in cluster.members:
        live = {path: ledger.objects.get(node.data) for path, node in host.tree.nodes.items() if node.kind is Kind.FILE}
        for path, one in live.items():
            if one is None or host.tree.nodes[path].data in ledger.aware or (one, path) in ledger.stays:
                continue
            names = _names(ledger.travels.get(one, []))
            if any(cluster.is_changed(name) for name in (path, *names)):
                continue
            author = ledger.writers[host.tree.nodes[path].data]
            if any(host.name == author and host.number in cluster.restored for host in cluster.hosts):
                continue  # who was set back does not know any more what he edited
            now = names[-1] if names else path
            group = host.rules.group_of(path)
            if group is None or group != host.rules.group_of(now) or not {author, host.name} <= set(group.members):
                continue
            if now in ledger.names.get(path, ()):
                continue  # somebody linked them: the file has both names (R17)
            if ledger.doubled.intersection((path, *names)):
                continue  # who was cloned before others had heard of a move tells it anew as what it finds: another file
            if any(ledger.is_untold(*move) for move in ledger.travels.get(one, ())):
                continue  # without a row, or in doubt, it is no move to anybody, but another file (R24, R8)
            if cluster.rotten.intersection((path, *names)):
                continue  # what a member lost there may have told of a move, and nobody else knew it
            count += now == path and path in names[1:] and (author, path) not in ledger.hands
            is_left = path in names and now != path and live.get(now) == one and (author, now) not in ledger.hands
            if not is_left or ledger.led_to(host.tree.nodes[path].data, host.tree.nodes[now].data):
                continue  # or nothing but its attributes was changed, perhaps by somebody else
            data = host.tree.nodes[path].data
            # A version of the same file is in the way, too, unless this one was made from it.
            written = [
                other
                for other, where in ledger.written.items()
                if (where == now or (now, hash_of(other)) in ledger.arrived)
                and (ledger.objects.get(other) != one or not ledger.led_to(other, data))
            ]
            authors = {author} | ledger.touched.get(data, set())
            # Who has set the time of something has made a version of it, too, which what follows would replace.
            is_in_the_way = any(
                authors & {ledger.writers.get(other), *ledger.touched.get(other, ())} for other in written
            )
            assert is_in_the_way, f"{host.name} shows {data!r} at {path!r}, not at {now!r}"
    return count


def _names(travels: list[tuple[RelPath, RelPath]]) -> list[RelPath]:
    """Return the names that a file had one after the other; none if it had two at once, or one of them twice."""
    names = [source for source, _ in travels[:1]]
    for source, target in travels:
        if source != names[-1] or target in names:
            return []
        names.append(target)
    return names


def check_follows(cluster: Cluster) -> None:
    """An edit leaves a name no more often than users moved the object away from there: what a move or a follow made never leads on.

    That is so of all lives of its member together, but who finds that it was set back, or cloned, has in doubt what it made since, and
    hears of the edit under its old name once more. It may find that out at each peer anew, and from changes of its own that others tell
    (R8); at each once. In one life it never leaves more often.
    """
    for host in cluster.hosts:
        acts = [action.act for action in cluster.plan.actions if action.member == host.number]
        set_back = sum(acts.count(act) for act in (Act.RESTORE, Act.CLONE, Act.POWER_CUT))
        set_back += 2 * (host.number in cluster.parked)
        for half in ("content", "meta"):
            edits = [(life, one, entry) for life, one in host.index.followed if (entry := getattr(one, half))]
            often = Counter((one.object, one.path, origin_of(entry), entry.value, life) for life, one, entry in edits)
            for (moved, path, origin, _, _), count in often.items():
                most = cluster.ledger.moves[moved, path]
                assert count <= most, (
                    f"{host.name}: {origin} left {path!r} {count} times in one life, after {most} moves"
                )
            often = Counter((one.object, one.path, origin_of(entry), entry.value) for _, one, entry in edits)
            for (moved, path, origin, _), count in often.items():
                most = cluster.ledger.moves[moved, path] * (1 + set_back * len(cluster.hosts))
                assert count <= most, f"{host.name}: {origin} left {path!r} {count} times, {most} at most"
