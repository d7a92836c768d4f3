"""Set hashes: whether two members that know the same have the same, and where they do not (R13).

Equal knowledge with unequal hashes means that one has lost something that it takes for known, by a bug or a bad disk: nobody would
ever send it again. A `Walk` finds the paths by the hashes of ever smaller ranges; full records of these are exchanged and
joined. Nothing is taken away for being absent elsewhere (R11).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from csfs.core import digests, versions
from csfs.core.digests import Digested, Range
from csfs.core.paths import RelPath
from csfs.core.versions import Incarnation, Scope, Vector
from csfs.engine.forgetting import UNSETTLED_MAX, dots_of
from csfs.engine.ports import Connected, Standing
from csfs.engine.state import State
from csfs.wire.messages import PARTS_MAX, Part, Update

DIFFERING_MAX: Final = 1_000
"""Paths that one walk finds at most; the next one finds more."""
QUESTIONS_MAX: Final = 1_000
"""Ranges that one walk asks for at most."""


@dataclass
class Walk:
    """The way to the paths at which a peer's set of a scope differs from ours."""

    differing: dict[RelPath, None] = field(default_factory=dict)
    questions: int = 0
    _open: list[Range] = field(default_factory=lambda: [Range()])

    @property
    def is_whole(self) -> bool:
        """Whether all paths that differ were found."""
        return not self._open

    def question(self) -> Range | None:
        """Return the range whose parts the peer is to be asked for; None: the walk is over."""
        if not self._open or self.questions >= QUESTIONS_MAX or len(self.differing) >= DIFFERING_MAX:
            return None
        self.questions += 1
        return self._open.pop()

    def answered(self, asked: Range, theirs: Sequence[Part], ours: Iterable[Digested]) -> None:
        """Compare the peer's parts of a range, ascending, with what is ours in it, ascending."""
        parts = list(theirs) or [Part(asked.last, 0, digests.packed(digests.NOTHING))]
        above, mine, number = asked.above, list[Digested](), 0
        for one in ours:
            while number < len(parts) - 1 and one[0] > parts[number].last:
                self._compare(Range(above, parts[number].last), parts[number], mine)
                above, mine, number = parts[number].last, [], number + 1
            mine.append(one)
        while number < len(parts) - 1:
            self._compare(Range(above, parts[number].last), parts[number], mine)
            above, mine, number = parts[number].last, [], number + 1
        self._compare(Range(above, asked.last), parts[number], mine)

    def _compare(self, part: Range, theirs: Part, ours: Sequence[Digested]) -> None:
        if digests.together(digest for _, digest in ours) == digests.unpacked(theirs.digest):
            return
        if theirs.count > 1:
            self._open.append(part)
            return
        for path, digest in ours:
            if path != theirs.last or digest != digests.unpacked(theirs.digest):
                self.differing[path] = None
        if theirs.count and all(path != theirs.last for path, _ in ours):
            self.differing[RelPath(theirs.last)] = None


def parts_of(found: Iterable[Digested], count: int) -> tuple[Part, ...]:
    """Return the parts of a range of `count` live paths, ascending; each of one path if there are few."""
    size = max(1, -(-count // PARTS_MAX))
    parts, last, held, digest = list[Part](), b"", 0, digests.NOTHING
    for path, added in found:
        last, held, digest = path, held + 1, digests.together((digest, added))
        if held == size:
            parts.append(Part(last, held, digests.packed(digest)))
            held, digest = 0, digests.NOTHING
    if held:
        parts.append(Part(last, held, digests.packed(digest)))
    return tuple(parts)


class Mending(State):
    """Comparing set hashes, and telling whole records."""

    def digests(self) -> dict[Scope, bytes]:
        """Return the set hash of each of our groups; nothing while what is here may be stale."""
        if self.pulling or self.is_in_quarantine:
            return {}
        groups = [group for group in self._rules.groups if self._member in group.members]
        return {group.scope: digests.packed(self._index.digest(group.scope)) for group in groups}

    def differing(self, peer: str, standings: Mapping[Scope, Standing], theirs: Mapping[Scope, bytes]) -> list[Scope]:
        """Return the scopes of which a peer knows what we know, and has something else."""
        ours = self.digests()
        return [
            scope
            for scope in self._heard_from(peer)
            # One of the two walks: a member of which the other takes nothing, or the first by name.
            if (self._member < peer or not self.speaks_in(scope))
            and scope in theirs
            and scope in ours
            and theirs[scope]
            and _is_same(self._knowledge_left(scope), standings.get(scope, Standing()).known)
            and (theirs[scope] != ours[scope] or self._disowned(scope) or self.unvouched(peer, scope))
        ]

    def unvouched(self, peer: str, scope: Scope) -> dict[RelPath, None]:
        """Return directories that live by what is below them alone, of which more may be known here than at anybody who is listened to.

        No set hash tells that. It may be what this member made, and told nobody, before it came to only receive. Each of its records
        is compared with a peer once, on a connection.
        """
        known = self._known_together(peer, scope) if not self.speaks_in(scope) else None
        if known is None:
            return {}
        compared = self._connected.get(peer, Connected()).compared
        return {
            path: None
            for path, row in self._index.unsettled(UNSETTLED_MAX)
            if row.scope == scope
            and not (row.live or all(versions.covers(known, dot) for dot in dots_of(row.record)))
            and compared.get(path) != row.record
            and self._index.has_live_below(path)
        }

    def _disowned(self, scope: Scope) -> Vector:
        """Return up to where anybody knows the ended lives of peers of which we know more, who only receive; {} elsewhere (R8).

        Such a peer has lost what it did after that when it was restored. Had anybody heard it but who only receives, he would have
        told. It counts once it has said on this connection how it stands.
        """
        if self.speaks_in(scope):
            return versions.EMPTY
        said = {
            peer: self._index.standings(peer).get(scope, Standing()).known
            for peer in self._peers
            if self.hears(peer, scope)
        }
        present = {
            peer: link.incarnation
            for peer, link in self._connected.items()
            if peer in said and link.has_stood and link.incarnation
        }
        disowned = dict[Incarnation, int]()
        for life, counter in self._index.knowledge(scope).items():
            author = self._authors.get(life)
            known = max((vector.get(life, 0) for vector in said.values()), default=0)
            if author is not None and present.get(author, life) != life and known < counter:
                disowned[life] = known
        return disowned

    def _knowledge_left(self, scope: Scope) -> Vector:
        """Return what we know, without what peers have lost and nobody has heard."""
        left = {**self._index.knowledge(scope), **self._disowned(scope)}
        return {life: counter for life, counter in left.items() if counter}

    def _known_together(self, peer: str, scope: Scope) -> Vector | None:
        """Return what a peer knows as we do, without what peers have lost; None if that is not the same, or more may be here.

        More is here until everybody who is connected has said the mark of all that he told, on this connection or before: only what
        he says of himself then is sure to come after it (R12). Who is not is to tell everything anew.
        """
        left = self._knowledge_left(scope)
        is_same = _is_same(left, self._index.standings(peer).get(scope, Standing()).known)
        links = [link for name, link in self._connected.items() if self.hears(name, scope)]
        is_all = all(link.has_stood and scope not in link.midstream | link.tainted for link in links)
        return left if is_same and is_all else None

    def _differs_from_all(self, scope: Scope) -> bool:
        """Return whether all who may change anything are connected, know what we know, and have the same as each other."""
        left, heard = self._knowledge_left(scope), [peer for peer in self._peers if self.hears(peer, scope)]
        digests = {self._connected.get(peer, Connected()).digests.get(scope, b"") for peer in heard}
        known = (self._index.standings(peer).get(scope, Standing()).known for peer in heard)
        return len(digests) == 1 and b"" not in digests and all(_is_same(left, one) for one in known)

    def walked(self, peer: str, scope: Scope) -> bool:
        """A walk with a peer has found everything at which we differed: what peers have lost is not known any more.

        Return whether anything was: everybody has to tell anew what he knows, from the beginning.
        """
        if not self._disowned(scope) or self._known_together(peer, scope) is None:
            return False
        self._index.set_knowledge(scope, self._knowledge_left(scope))
        return True

    def speaks_in(self, scope: Scope) -> bool:
        """Return whether others listen to this member in a scope."""
        return any(group.scope == scope and self._may_write(group) for group in self._rules.groups)

    def hears(self, peer: str, scope: Scope) -> bool:
        """Return whether this member listens to a peer in a scope."""
        return scope in self._heard_from(peer)

    def may_tell(self, peer: str, scope: Scope) -> bool:
        """Return whether a peer may hear what is known of a scope."""
        return any(g.scope == scope and peer in g.members and self._member in g.members for g in self._rules.groups)

    def records(self, scope: Scope, paths: Iterable[RelPath]) -> list[Update]:
        """Return whole records of those of `paths` that belong to a scope and of which anything is known."""
        found = []
        for path in paths:
            row = self._index.row(path)
            if row is None or row.scope != scope:
                continue
            content = row.record.content if row.record.content.entries else None
            meta = row.record.meta if row.record.meta.entries else None
            if content is not None or meta is not None or row.record.time is not None:
                found.append(Update(path, content, meta, row.record.time))
        return found


def _is_same(ours: versions.Vector, theirs: versions.Vector) -> bool:
    return versions.includes(ours, theirs) and versions.includes(theirs, ours)
