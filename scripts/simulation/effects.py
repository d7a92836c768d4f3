"""`scripts/simulate --stats`: what plans say often, and what of it comes to anything. A disturbance that never does disturbs nobody."""

from collections import Counter
from collections.abc import Hashable

from scripts.simulation.cluster import Cluster
from scripts.simulation.dice import Dice
from scripts.simulation.moments import Moment
from scripts.simulation.plan import Act, Action, Plan
from scripts.simulation.planning import made


class Watched(Cluster):
    """A cluster that counts acts, and those that changed anything."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.said: Counter[Act] = Counter()
        self.done: Counter[Act] = Counter()
        self.lost: Counter[Act] = Counter()
        """Batches on their way that were lost, by what lost them."""

    def run(self) -> None:
        """Carry out the plan."""
        for action in self.plan.actions:
            self.now_ns += action.after_ns
            flying, before, again = self._flying(), self._state(), self._is_repeated(action)
            getattr(self, f"_{action.act.name.lower()}")(action, self.hosts[action.member], Dice(action.dice))
            self.said[action.act] += 1
            self.done[action.act] += again or self._state() != before
            if action.act not in (Act.DELIVER, Act.SYNC):
                self.lost[action.act] += max(0, flying - self._flying())

    def _is_repeated(self, action: Action) -> bool:
        """Return whether a batch is about to arrive once more, which must change nothing."""
        link = self.links[action.member, action.other]
        return action.act is Act.REPEAT and link.up and bool(link.arrived)

    def _flying(self) -> int:
        return sum(len(link.flying) for link in self.links.values())

    def _state(self) -> Hashable:
        """Return what changes with everything that happens."""
        links = [(x.up, x.deaf, x.position, len(x.flying), len(x.arrived), x.index_id) for x in self.links.values()]
        hosts = [
            (
                host.lives,
                host.pulling,
                host.tree.ticks,
                host.index.position(),
                host.index.minted,
                len(host.index.pending()),
                len(host.programs.looks),
                (len(host.programs.rows), host.digested),
                len(host.intents),
                host.programs.full,
                tuple(host.scopes),
                tuple(sorted(host.acquainted)),
                host.brake.waiting.left(),
            )
            for host in self.hosts
        ]
        return str(
            (links, hosts, self.shape, sorted(map(sorted, self.apart)), sorted(self.saves), id(self.hosts[0].engine))
        )


def report(seeds: range, members: int, steps: int) -> None:
    """Print what happens in these runs: how often each act is said, how often it changed something, and what was lost."""
    said, done, lost, runs = Counter[Act](), Counter[Act](), Counter[Act](), Counter[Act]()
    moments = Counter[Moment]()
    for seed in seeds:
        cluster = Watched(made(seed, members, steps))
        cluster.begin()
        cluster.run()
        said += cluster.said
        done += cluster.done
        lost += cluster.lost
        moments += cluster.moments()
        runs.update(act for act, count in cluster.done.items() if count)
    print(f"{'act':<14}{'said':>10}{'done':>10}{'runs':>8}{'batches lost':>14}")
    for act in Act:
        print(f"{act.value:<14}{said[act]:>10}{done[act]:>10}{runs[act]:>8}{lost[act] or '':>14}")
    for moment in Moment:
        print(f"{moments[moment]:>10}  {moment.value}")
    never = [act.value for act in Act if not done[act]] + [moment.value for moment in Moment if not moments[moment]]
    print(f"never done: {', '.join(never)}" if never else f"all of it happens, in {len(seeds)} runs")
