"""One volume on this member: what the workers share. Everything here is touched from the event loop alone."""

import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, TypeVarTuple

import trio

from csfs.core import policies
from csfs.core.changes import Change
from csfs.core.groups import Rules
from csfs.core.moves import WholeMove
from csfs.core.paths import RelPath
from csfs.core.versions import Scope, Vector
from csfs.engine.evidence import Evidence
from csfs.engine.hearing import Hearing
from csfs.engine.volume import VolumeEngine
from csfs.errors import LostRootError
from csfs.index.index import Index
from csfs.replicate.asking import Asking
from csfs.replicate.contents import Contents, Hashes
from csfs.replicate.findings import Findings
from csfs.replicate.gate import Gate
from csfs.replicate.happenings import Happenings
from csfs.replicate.leaving import LeftOut
from csfs.replicate.memory import Memory
from csfs.replicate.patches import Patches
from csfs.replicate.progress import Meter
from csfs.replicate.refusals import KeptOut, Refusal
from csfs.replicate.revising import begin
from csfs.replicate.shortcomings import Shortcomings
from csfs.replicate.signals import Signal
from csfs.replicate.sparing import Sparing
from csfs.store.owners import Owners
from csfs.store.stage import Stage
from csfs.store.treating import Treatments
from csfs.store.tree import Tree
from csfs.wire import messages as wire

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ARRIVALS_MAX = 1_000
"""Messages of one peer that wait, each by itself, to be applied: something may wait for a person for days."""
THREADS_MAX = 16
"""Of one volume, at the same time."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Trouble with one path; the others go on."""

    path: RelPath
    reason: str


@dataclass(slots=True)
class Root:
    """The directory underneath, while the volume is mounted; handed over by the mount's parent."""

    descriptor: int
    tree: Tree
    stage: Stage
    users: int = 0
    """Threads that work with it now: its descriptors stay open until there are none."""
    identity: bytes = b""
    """What it carries as its identity."""

    def check(self) -> None:
        """Make sure that it is the volume's still, before what is missing there is believed; for a thread.

        Raises:
            LostRootError: it is not: its identity is gone, and everything else with it, perhaps.
        """
        if self.identity and self.stage.identity() != self.identity:
            raise LostRootError(
                "the directory underneath has lost .csfs/identity while it was mounted: nothing is replicated, so that what else "
                "is missing there is not taken for deleted; put it back, and mount the volume again"
            )


@dataclass(slots=True)
class Arrival:
    """One message of records from a peer: its position, the paths not applied yet, and what then has to be settled."""

    position: int
    paths: set[RelPath]
    marks: int = -1
    """The marks of directories that the commits of these paths left; -1 while there are paths."""
    waits_for: RelPath | None = None
    """One of the paths, which was not applied when all were looked at: until it is, the others need no look."""


@dataclass(slots=True)
class Exchange:
    """Where we are with one connected peer, in our update order and in its own."""

    peer: str
    sent: int
    """Position up to which it has, or was sent, everything."""
    knowledge: dict[Scope, Vector]
    """What it has said that it knows."""
    told: dict[Scope, Vector] = field(default_factory=dict)
    """What we have said that we know."""
    last_records: int = 0
    """Position of the last message of records that it was sent."""
    applied: int = 0
    """Position up to which it has said that it applied."""
    stored: int = 0
    apart: list[WholeMove] = field(default_factory=list)
    """Moves of directories that it did not follow as a whole."""
    asking: Asking | None = None
    """Whom to ask what it has; None in tests without a link."""
    travelled: Hashes = field(default_factory=Hashes)
    """Contents that it was sent with their records."""
    sending: bool = False
    """A batch is being put into words: it may not have left yet."""
    stands: wire.Stands | None = None
    """How it stood when it last said so on this link."""
    midstream: bool = False
    """It has not said the mark of what it is sending."""
    following: bool = False  # a move of a directory that it told of
    waiting_since_ns: int = 0
    """When the oldest message of records left that it has not applied yet; 0: none."""
    meter: Meter = field(default_factory=Meter)  # how far it says it is with what it has to show
    problems: int = 0
    refusals: tuple[wire.Refusal, ...] = ()
    """What its validators refuse of what this member made."""
    refused: set[Scope] = field(default_factory=set)
    """Of which something that it sent was refused on this link: its marks count for nothing, and our cursor stands still."""
    arrived: deque[Arrival] = field(default_factory=deque)
    """What it sent us and is not all applied yet, in its order."""
    received: int = 0
    """Its position up to which everything is stored here."""
    acknowledged: int = 0
    """Its position up to which we told it that we stored."""
    reported: int = 0
    """Its position up to which we told it that we applied."""

    def arrives(self, position: int, paths: set[RelPath]) -> None:
        """Note a message that is to be reported once it is applied; behind a great many that are not, several are one."""
        if len(self.arrived) >= ARRIVALS_MAX and self.arrived[-1].marks < 0:
            last = self.arrived.pop()
            position, paths = max(last.position, position), last.paths | paths
        self.arrived.append(Arrival(position, paths))


class Volume:
    """State and signals of one volume; the workers in this room do the work.

    `changed`: the index has new positions to send. `to_apply`: paths whose known state may not be shown yet. `written`: the index
    was written, or could not be. `progress`: something that a waiting command asks about has moved. `settled`: what a peer sent may be
    all applied. `comparison`: one may be due. `ready`: the root or the gate came or went.
    """

    def __init__(
        self, name: str, *, index: Index, rules: Rules, member: str, owners: Owners, extra: str = "keep"
    ) -> None:
        self.name, self.member, self.index, self.extra = name, member, index, extra
        self.treated = Treatments(owners, lambda path: self.rules.treatment_of(path))
        self.apply_mode = "auto"
        """Whether files are overwritten in place: `auto`, `atomic` for never, `in-place` wherever it is possible."""
        self.authors, self.rules = index.ledger.authors(), rules
        self.engine = self._new_engine(self.rules)
        self.root: Root | None = None
        self.gate: Gate | None = None
        self.stopped = ""
        """Why replication of this volume stands still; empty when it does not."""
        self.comparing = self.uncompared = False
        """Whether things may have changed here that the index does not show: the tree is still to be compared."""
        self.compared_at = -float("inf")
        """When the whole tree was compared last, by the loop's clock."""
        self.evidence: Evidence | None = None
        """What the journal proves, from a power cut until the tree was compared."""
        self.contents, self.travelled, self.patches = Contents(), Hashes(), Patches()
        self._hearing = Hearing()
        self.problems: dict[RelPath, Problem] = {}
        self.kept_out, self.sparing, self.shortcomings = KeptOut(), Sparing(), Shortcomings()
        self.left_out = LeftOut(index, lambda path: self.rules.treatment_of(path), self.set_problem)
        self.findings, self.happenings = Findings(name), Happenings(member)
        self.across: dict[RelPath, RelPath] = {}  # names of one inode in different groups, not linked at peers (R17)
        self.exchanges: dict[str, Exchange] = {}
        self.memory = Memory(name)
        self.changed, self.progress, self.written = Signal(), Signal(), Signal()
        index.on_written(self.written.notify)
        self.settled, self.comparison, self.ready = Signal(), Signal(), Signal()
        self.to_apply: set[RelPath] = set(index.rows.pending())
        self.in_flight: set[RelPath] = {plan.path for plan in index.ledger.intents()}
        """Paths to which something is being committed: what is seen there now means nothing."""
        self.disturbed: set[RelPath] = set()
        """Directories whose times these commits change."""
        self.stock_due = bool(self.in_flight)
        """Whether nobody recorded what became of what is in flight: it is still to be looked at."""
        self.apply_wanted = Signal()
        self.to_merge: set[RelPath] = set()
        """Paths of groups that merge at which something has changed."""
        self.merge_wanted = Signal()
        self.room_wanted = 0
        """Bytes of the largest content that did not fit on the disk since room was last made."""
        self.cramped = Signal()
        # Of its own: one volume's storage that hangs must not take the threads of the others.
        self._limiter = trio.CapacityLimiter(THREADS_MAX)
        self.nursery: trio.Nursery | None = None
        """Where the volume's workers run."""
        # Unique over restarts of the daemon, so that a name left in the stage never meets a new one.
        self._commit_ids = itertools.count(time.time_ns())

    @property
    def may_apply(self) -> bool:
        """Whether what is known may be made live: mounted, whole, and compared with what is here."""
        unsure = self.stock_due or self.comparing or self.uncompared or self.index.ledger.pulling
        return self.mounted and not (self.stopped or unsure)

    @property
    def merges(self) -> bool:
        """Whether any group of this member puts together what several members changed."""
        return any(policies.merges(group.policy) and self.member in group.members for group in self.rules.groups)

    def is_followed(self, path: RelPath) -> bool:
        """Whether a group of this member covers `path`."""
        return self.rules.is_synced(path)

    def scopes(self, peer: str | None = None) -> set[Scope]:
        """Return the scopes that this member, and `peer` if it is given, belong to."""
        return {
            group.scope
            for group in self.rules.groups
            if self.member in group.members and (peer is None or peer in group.members)
        }

    def set_rules(self, rules: Rules) -> bool:
        """Follow other rules from now on; return whether scopes differ. Links have to be made anew then."""
        before = self.rules
        if [group.scope for group in rules.groups] == [group.scope for group in before.groups]:
            self.rules = rules
            return False
        self.engine, self.rules = self._new_engine(rules), rules
        self._hearing = Hearing()
        self.apply_soon(self.index.rows.pending())
        self.progress.notify()
        return True

    def _new_engine(self, rules: Rules) -> VolumeEngine:
        index, pulling = self.index, self.index.ledger.pulling
        engine = VolumeEngine(index.rows, rules, self.member, index.incarnation, self.authors, pulling=pulling)
        begin(index, engine, [group.scope for group in rules.groups])
        return engine

    @property
    def is_sorted(self) -> bool:
        """Whether the index's table says of each row what the rules do: else it is read so, and waits to be written."""
        return self.index.ledger.is_sorted

    def memory_lost(self, peer: str) -> None:
        """A peer has shown that this member was restored or cloned: it is another incarnation now."""
        self.authors.update(self.index.ledger.authors())
        self.engine = self._new_engine(self.rules)
        self.memory.lost(peer)

    def memory_found(self) -> None:
        """What the peers know is known here again."""
        self.memory.found()
        self.records_changed()
        self.apply_soon(self.index.rows.pending())

    def mended(self, peer: str, paths: Sequence[RelPath]) -> None:
        """Records came back that this member took for known and did not have."""
        if paths:
            self.memory.mended(peer, paths)

    def heard(self, scope: Scope, peer: str, *, joins: bool) -> None:
        """A peer, which perhaps joins itself, has told all it knows of `scope`."""
        self._hearing.told(scope, peer, joins=joins)
        self.comparison.notify()

    @property
    def heard_all(self) -> bool:
        """Whether all scopes of this member of which others have something to say were heard of since it started."""
        return self._hearing.is_complete(self.rules.groups, self.member)

    @property
    def mounted(self) -> bool:
        """Whether there is a root to look at and a gate to commit through."""
        return self.root is not None and self.gate is not None and not self.gate.closed

    def next_commit_id(self) -> int:
        """Return an id for one commit."""
        return next(self._commit_ids)

    def apply_soon(self, paths: Iterable[RelPath]) -> None:
        """Have the applier look at these paths."""
        self.to_apply.update(paths)
        if self.to_apply:
            self.apply_wanted.notify()

    def take_in(self, paths: Iterable[RelPath]) -> None:
        """Something else is known of these paths: what was wrong with what was wanted before is past."""
        paths = list(paths)
        for path in paths if self.problems else ():
            self.settle_problem(path)
        self.apply_soon(paths)
        self.merge_soon(paths)

    def merge_soon(self, paths: Iterable[RelPath]) -> None:
        """Have what merges may need held at these paths, and merges made that are due."""
        if self.merges:
            self.to_merge.update(paths)
            self.merge_wanted.notify()

    def records_changed(self) -> None:
        """Tell the senders that the index has moved on."""
        self.changed.notify()
        self.progress.notify()

    def set_problem(self, path: RelPath, reason: str) -> None:
        """Report trouble with one path, until it is settled."""
        self.problems[path] = Problem(path, reason)
        self.progress.notify()
        self.settled.notify()

    def refuse(self, path: RelPath, refusal: Refusal) -> None:
        """A validator keeps a version out; who made it is told."""
        reason = f"not applied: {refusal.reason}; a newer version is tried, or this one at csfs config reload"
        self.set_problem(path, reason)
        self.kept_out.put(path, refusal)

    async def tell_refusals(self, peer: str, send: Callable[[wire.PeerMessage], Awaitable[None]]) -> None:
        """Tell a peer what validators here keep out of what it made, for ever."""
        await self.kept_out.tell(self.name, peer, self.authors, send)

    def settle_problem(self, path: RelPath) -> None:
        """The path is all right (again)."""
        self.problems.pop(path, None)
        self.kept_out.drop(path)

    def want_room(self, size: int) -> None:
        """A content of `size` bytes does not fit on the disk: kept versions may have to go before their time."""
        self.room_wanted = max(self.room_wanted, size)
        self.cramped.notify()

    def is_pending(self, path: RelPath) -> bool:
        """Whether what is known of `path` is not yet what is shown."""
        row = self.index.rows.row(path)
        return row is not None and row.pending

    def is_settled(self, path: RelPath) -> bool:
        """Whether nothing is left to do at `path`, or what is left is reported as a problem."""
        return not self.is_pending(path) or path in self.problems

    def told(self, change: Change) -> None:
        """A mount has told of a change, and who made it."""
        self.happenings.told(change)
        self.findings.explained(change.path, change.target)

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something in a while, unless the daemon ends before."""
        assert self.nursery is not None
        self.nursery.start_soon(_after, delay_s, action)

    async def with_root(self, function: Callable[[Root, *Ts], T], *arguments: *Ts, inline: bool = False) -> T:
        """Run work on the directory underneath in a thread; `inline` for a little on what is surely in memory.

        A thread costs some 0.2 ms, which is more than reading a small file that was written just now.

        Raises:
            trio.ClosedResourceError: the volume is not mounted (any more).
        """
        root = self.root
        if root is None:
            raise trio.ClosedResourceError(f"volume {self.name} is not mounted")
        root.users += 1
        try:
            if inline:
                return function(root, *arguments)
            return await trio.to_thread.run_sync(function, root, *arguments, limiter=self._limiter)
        except LostRootError as error:
            self.stopped = str(error)
            log.error("%s: %s", self.name, self.stopped)
            self.ready.notify()
            raise trio.ClosedResourceError(self.stopped) from error
        finally:
            root.users -= 1
            self.progress.notify()


async def _after(delay_s: float, action: Callable[[], None]) -> None:
    await trio.sleep(delay_s)
    action()
