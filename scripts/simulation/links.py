"""Links between simulated members: what is on its way, in order, until it arrives or the connection breaks."""

from dataclasses import dataclass, field, replace

from csfs.core import versions
from csfs.core.moves import WholeMove
from csfs.core.objects import Kind
from csfs.core.versions import Scope, Vector
from csfs.engine.ports import Outgoing
from scripts.simulation.host import Host
from scripts.simulation.standing import Report, give_token, hold_token, take_report
from scripts.simulation.tree import hash_of, is_large

REPEATED_MAX = 12


@dataclass
class Batch:
    """One message of records, with the contents that travel in it."""

    out: Outgoing
    contents: dict[bytes, bytes]
    token: bytes


@dataclass(eq=False)
class Link:
    """One direction between two members. `deaf`: the target is gone, and the source does not know yet."""

    source: Host
    target: Host
    up: bool = False
    deaf: bool = False
    position: int = 0
    index_id: int = 0
    forgettings: int = 0
    """How often the target had forgotten its cursors when this connection began."""
    knowledge: dict[Scope, Vector] = field(default_factory=dict)
    """What the target has said that it knows, and what it was told."""
    refused: set[Scope] = field(default_factory=set)
    apart: list[WholeMove] = field(default_factory=list)
    """Moves of directories that the target did not follow as a whole: each path is told by itself."""
    awaited: WholeMove | None = None
    """One that the target was told of and has not answered yet: nothing more is told before."""
    flying: list[Batch | Report] = field(default_factory=list)
    arrived: list[Batch] = field(default_factory=list)
    reported: Report | None = None
    """How the source stood when it last said so on this connection."""
    heard: Report | None = None
    """How the source stood when the target last heard that on this connection."""
    to_pulling: bool = False
    from_pulling: bool = False
    from_quarantine: bool = False
    """Whether the source has said on this connection that it is in quarantine."""

    def cut(self) -> None:
        """Lose the connection and everything on its way."""
        if self.up:
            self.target.engine.parted(self.source.name)
        self.up = False
        self.flying.clear()
        self.arrived.clear()

    def greet(self) -> None:
        """Begin a connection: go on where the target stored up to."""
        source, target = self.source, self.target
        self.up, self.deaf = True, False
        self.flying.clear()
        self.arrived.clear()
        self.refused.clear()
        self.apart.clear()
        self.awaited = None
        self.reported = self.heard = None
        self.from_quarantine = False
        self.index_id, self.forgettings = source.index_id, target.forgettings
        index_id, position = target.cursors.get(source.name, (0, 0))
        self.position = position if index_id == source.index_id else 0
        self.knowledge = {} if target.pulling else dict(target.engine.knowledge())
        self.to_pulling, self.from_pulling = target.pulling, source.pulling

    def send(self, limit: int) -> bool:
        """Put the next batch on its way; return whether there was anything to say."""
        if self.awaited is not None or self.source.engine.withholds(self.target.name):
            return False
        out = self.source.engine.outgoing(self.position, self.knowledge, limit, self.target.name, self.apart)
        if out.move is not None:
            self.awaited = out.move
            if not self.deaf:
                self.flying.append(Batch(out, {}, give_token(self.source, self.target.name)))
            return True
        self.position = out.position
        if out.mark is not None:
            self.tell(out.scope, out.mark)
        if not out.updates and out.mark is None:
            return not out.done or self._report()
        token = give_token(self.source, self.target.name)
        if not self.deaf:
            self.flying.append(Batch(out, self._inline(out), token))
        return True

    def _report(self) -> bool:
        """Have the source say how it stands, after all that it had to say; return whether there was any news."""
        if self.source.unsorted is not None:
            return False
        report = Report.of(self.source)
        if self.reported is not None and report == self.reported:
            return False
        self.reported = report
        token = give_token(self.source, self.target.name)
        if not self.deaf:
            self.flying.append(replace(report, token=token, held=self.source.index.tokens(self.target.name).held))
        return True

    def tell(self, scope: Scope, mark: Vector) -> None:
        """The target knows what it said in a mark, and what it is told."""
        self.knowledge[scope] = versions.joined(self.knowledge.get(scope, {}), mark)

    def _inline(self, out: Outgoing) -> dict[bytes, bytes]:
        """Return what the source shows of the contents that the updates speak of, but for large ones: those are asked for."""
        wanted = {
            entry.value.hash for update in out.updates if update.content is not None for entry in update.content.entries
        }
        shown = (node.data for node in self.source.tree.nodes.values() if node.kind is Kind.FILE)
        return {digest: data for data in shown if not is_large(data) and (digest := hash_of(data)) in wanted}

    def deliver(self, back: "Link", now_ns: int, connected: dict[str, bool]) -> bool:
        """Have the oldest batch arrive, and be stored in one transaction; return whether there was one."""
        if not self.flying:
            return False
        batch = self.flying.pop(0)
        if isinstance(batch, Report):
            connected[self.source.name] = self.from_quarantine = batch.quarantined
            self.heard = batch
            take_report(batch, self.source, self.target, now_ns, connected)
            return True
        self.arrived = [*self.arrived[-REPEATED_MAX:], replace(batch, token=b"")]
        self.take_in(batch, back, now_ns)
        return True

    def take_in(self, batch: Batch, back: "Link", now_ns: int) -> None:
        """Store a batch that arrived, perhaps not for the first time."""
        out, source, target = batch.out, self.source, self.target
        if out.move is not None:
            self._take_in_move(batch, out.move, now_ns)
            return
        target.cache.update(batch.contents)
        mark = None if out.scope in self.refused else out.mark
        received = target.engine.receive(source.name, out.scope, out.updates, mark, now_ns)
        target.engine.follow(received.touched, now_ns)
        if received.refused:
            same_rules = [g.scope for g in source.rules.groups] == [g.scope for g in target.rules.groups]
            # By way of others a restored member hears of what it did before anybody shows it a token (R8).
            is_behind = target.relived == target.incarnation
            assert not same_rules or is_behind, f"{target.name} refused what {source.name} said: {received.refused}"
            self.refused.add(out.scope)
        if received.is_ahead:
            target.outlived(source.name)
        if batch.token:
            hold_token(target, source.name, batch.token)
        self._go_on_from(out.position)
        if out.mark is not None:
            back.tell(out.scope, out.mark)
            if out.scope not in self.refused:
                target.hearing.told(out.scope, source.name, joins=self.from_pulling)
        target.index.commit()

    def _go_on_from(self, position: int) -> None:
        """The target has all up to a position, unless it has forgotten since what there was before this connection."""
        if not self.refused and self.forgettings == self.target.forgettings:
            self.target.cursors[self.source.name] = (self.index_id, position)

    def _take_in_move(self, batch: Batch, move: WholeMove, now_ns: int) -> None:
        """Have a directory moved at the target, if it agrees, and answer at once."""
        out, source, target = batch.out, self.source, self.target
        is_known = out.scope not in self.refused and target.wholes.follow(source.name, out.scope, move, now_ns)
        if is_known:
            if batch.token:
                hold_token(target, source.name, batch.token)
            self._go_on_from(out.position)
        target.index.commit()
        if self.awaited != move:
            return  # it came once more
        self.awaited = None
        if is_known:
            self.position = out.position
        else:
            self.apart.append(move)
