"""One simulated member: its disk, its programs, its index and engine, and its lives."""

from collections import Counter
from collections.abc import Callable

from csfs.core.objects import Observation
from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Incarnation, Scope, covers
from csfs.engine.evidence import Evidence
from csfs.engine.hearing import Hearing
from csfs.engine.ports import Plan
from csfs.engine.rules import Rules, may_send
from scripts.simulation.braking import HostBrake
from scripts.simulation.dice import Dice
from scripts.simulation.index import Index
from scripts.simulation.ledger import Ledger
from scripts.simulation.merging import HostMerging
from scripts.simulation.moments import Moment
from scripts.simulation.noting import NotingEngine
from scripts.simulation.programs import Programs
from scripts.simulation.saved import Cursor
from scripts.simulation.tree import FakeTree
from scripts.simulation.wholes import HostWholes

SORTED_AT_ONCE = 3
"""Rows that are written in one step after the rules have changed."""


class Member:
    """A member. `contents` finds the bytes of a content that this member can have now, or None."""

    def __init__(self, name: str, number: int, ledger: Ledger, rules: Rules, *, pulling: bool, extra: str) -> None:
        self.name, self.number, self.ledger, self.rules, self.extra = name, number, ledger, rules, extra
        self.tree = FakeTree(_accounts(number), granularity_ns=1000 if number == 2 else 1, has_flags=number != 1)
        self.programs = Programs(name, self.tree, ledger)
        self.contents: Callable[[bytes], bytes | None] = lambda content_hash: None
        self.skew_ns = 0
        self.index = Index()
        self.brake = HostBrake(self.index)
        self.index_id = 0
        self.kept: set[bytes] = set()
        self.retained: set[tuple[RelPath, bytes]] = set()
        """What peers' changes took away, and where, which is kept as long as retention says."""
        self.lapsed: set[tuple[RelPath, bytes]] = set()
        """What was so kept here in lives that are lost: a backup of before does not have it."""
        self.cursors: dict[str, Cursor] = {}
        self.forgettings = 0
        """How often these were forgotten: who was greeted before goes on from what is no cursor any more."""
        self.scopes: list[Scope] = []
        self.unsorted: RelPath | None = None
        """The first row that may not be written as the rules have it now; None: there is none."""
        self.pulling = pulling
        self.hearing = Hearing()
        self.held: set[RelPath] = set()
        self.intents: dict[RelPath, Plan] = {}
        """Commits whose outcome nobody recorded."""
        self.cache: dict[bytes, bytes] = {}
        """Contents that came with their records and are in memory."""
        self.authors: dict[Incarnation, str] = {}
        self.merging = HostMerging(self)
        self.wholes = HostWholes(self)
        self.moments: Counter[Moment] = Counter()
        self.undressed: set[RelPath] = set()
        """Paths of which it may show more by now."""
        self.lives = 0
        self.relived: Incarnation | None = None
        """What it was restored to be, without a boot: others may know changes of it that it has not made."""
        self.is_anew = False
        """It has become another incarnation in the course of a connection: its peers have to hear that."""
        self.given = 0
        self.walks = 0
        self.lost: set[RelPath] = set()
        """Paths of which this member did not have what it took for known."""
        self.overlooked: set[RelPath] = set()
        """Paths that it took for shown, and were not."""
        self.unasked_minted = 0
        """Versions made of what was here before this member joined, or lost its memory, and merges."""
        self.evidence: Evidence | None = None
        """What the journal proves, from a power cut until everything was looked at."""
        self.suspects: set[RelPath] = set()
        self.digested = 0
        """How many of the journal's rows the index knows."""
        self.programs.speaks = self._speaks
        self.programs.outside.follows = self.follows
        self.programs.is_old = self._is_old
        self.programs.is_unrecorded = lambda path: path in self.intents
        self.programs.is_doubted = lambda path: self.engine.is_torn(path)
        self.programs.is_shown = lambda path: self._shown_at(path) is not None
        self.programs.merges = self.merging.is_merged
        self.boot()
        self.programs.look(ROOT)

    def follows(self, path: RelPath) -> bool:
        """Return whether a group of this member has the path."""
        return is_followed(self.rules, self.name, path)

    @property
    def is_in_groups(self) -> bool:
        """Whether there is anything that this member follows."""
        return any(self.name in group.members for group in self.rules.groups)

    @property
    def acquainted(self) -> set[str]:
        """Users whom this host has come to know, and knows."""
        return set(self.tree.names.values()) - self.tree.names_first

    def _speaks(self, path: RelPath) -> bool:
        """Return whether the others listen to what is done here at a path."""
        group = self.rules.group_of(path)
        return not self.pulling and group is not None and may_send(group, self.name)

    def _is_old(self, path: RelPath) -> bool:
        """Return whether what is shown at a path lives on under an old name, for all that this member has taken into account."""
        row = self.index.row(path)
        entries = row.record.content.entries if row is not None else ()
        return row is not None and any(e.moves and covers(row.applied.content_seen, e.dot) for e in entries)

    def is_going(self, path: RelPath) -> bool:
        """Return whether this member knows that what it shows at a path was removed, and no program here has changed it since."""
        row = self.index.row(path)
        return row is not None and row.pending and not row.live and path not in self.programs.looks

    # --------------------------------------------------------------------------------------------- lives and disasters

    def boot(self) -> None:
        """Start on a new boot: another incarnation, and another index to the peers."""
        self.lives += 1
        self.index_id = self.number * 1000 + self.lives
        self.incarnation = Incarnation(self.index_id + 1)
        self.authors[self.incarnation] = self.name
        self.index.start_incarnation()
        self.start()

    def outlived(self, peer: str) -> None:
        """A peer has told changes of this member that it has not made."""
        self.engine.outlived(peer)
        self.relearn()
        self.is_anew = True

    def relearn(self) -> None:
        """Be another incarnation, to which each peer tells from its beginning what is not known here: also what is in doubt."""
        self.forget_cursors()
        self.boot()

    def forget_cursors(self) -> None:
        """Have every peer tell from its beginning, at the next greeting, what is not known here."""
        self.cursors.clear()
        self.forgettings += 1

    def speaks_in(self, scope: Scope) -> bool:
        """Return whether the others of a group listen to this member."""
        return any(group.scope == scope and may_send(group, self.name) for group in self.rules.groups)

    def start(self) -> None:
        """Start the daemon with these rules."""
        self.index.commit()
        self.engine = NotingEngine(
            self.index, self.rules, self.name, self.incarnation, self.authors, pulling=self.pulling
        )
        self.engine.watched(self.ledger, self.programs)
        scopes = [group.scope for group in self.rules.groups]
        if scopes != self.scopes:
            self.engine.follow_rules(self.scopes)
            self.scopes = scopes
            self._begin_anew()
        self.index.revise(self.engine.in_scope)
        self.unsorted = ROOT
        self.hearing = Hearing()
        self.index.commit()

    def _begin_anew(self) -> None:
        """Be another index to the peers: they hear of every row once more, and tell what is not known here from their beginning."""
        self.forget_cursors()
        self.lives += 1
        self.index_id = self.number * 1000 + self.lives

    def sort(self) -> None:
        """Write some more rows as the rules have them; nothing is asked of the groups that the index counts before all are."""
        if self.unsorted is not None:
            self.unsorted = self.engine.sort_rows(self.unsorted, SORTED_AT_ONCE)
            self.index.commit()
        if self.unsorted is None:
            self.index.revise(None)

    def sort_all(self) -> None:
        """Write all rows as the rules have them."""
        while self.unsorted is not None:
            self.sort()

    def adopt(self, rules: Rules) -> None:
        """Follow other rules: what they newly cover is found by comparing."""
        before, self.rules = self.rules, rules
        self.programs.outside.adopted(self.tree, lambda path: is_followed(before, self.name, path))
        for path, node in self.tree.nodes.items():
            if self.follows(path) and not is_followed(before, self.name, path) and path not in self.suspects:
                # What a power cut has left where nothing was followed is a file like any other; what was found in doubt is not.
                self.programs.claim(node)
        self.programs.adopted()
        # If the others listen from now on, what was not taken into account yet is a change like any other.
        self.ledger.replaced.update(self.programs.unheard)
        self.start()
        self.look_at_all()

    def crash(self, dice: Dice) -> None:
        """The daemon is killed and started again: what was not committed is gone, everything is compared."""
        self.index.rollback()
        self.brake.restart()
        self.programs.touched |= self.programs.unsettled
        self.cache.clear()
        self.programs.marks.clear()
        self.programs.moved.clear()
        if dice.one_in(3):
            self.boot()
        else:
            self.start()
        self.look_at_all()

    def look_at_all(self) -> None:
        """Have everything compared."""
        for path in self.tree.nodes.keys() | self.index.rows().keys():
            if path not in self.held:
                self.programs.look_again(path)

    def commit(self) -> None:
        """Make what was digested durable."""
        self.index.commit()
        self.programs.unsettled.clear()

    def rest(self) -> None:
        """Give back what is held at hand, as a volume does that has come to rest with all that was told looked at."""
        if not self.programs.looks:
            self.moments[Moment.RESTED] += bool(self.engine.left_count)
            self.engine.forget_left()

    def note_made(self, path: RelPath) -> None:
        """What users changed here is taken into account."""
        if path in self.programs.touched and self.follows(path):
            self.programs.touched.remove(path)
            self.programs.unsettled.add(path)

    def _shown_at(self, path: RelPath | None) -> Observation | None:
        row = self.index.row(path) if path is not None else None
        return row.applied.observation if row is not None else None


def _accounts(number: int) -> dict[int, str]:
    """Return the users of a member by their numbers: bob has two, and cid is not everywhere."""
    return {0: "root", 1000: "ann", 1001 + number % 2: "bob"} | ({1002: "cid"} if number % 2 == 0 else {})


def is_followed(rules: Rules, member: str, path: RelPath) -> bool:
    """Return whether a group of this member has the path."""
    group = rules.group_of(path)
    return group is not None and member in group.members
