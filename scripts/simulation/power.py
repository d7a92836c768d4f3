"""What is on a simulated member's disk, and what a power cut leaves of the rest (R24).

On the disk are names and attributes as they were when anything was synced last, and the bytes that files had when they were. Of what
came after, each thing may have got there or not: all names or none, rows up to one of them, the index or not, bytes file by file. Of
what was renamed neither name may be left, on a file system that does not rename in one step.
"""

from collections.abc import Mapping, Sequence

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Kind
from csfs.core.paths import RelPath, ancestors_of, is_below
from csfs.core.rows import Row
from csfs.core.treatment import flags_in
from csfs.engine.evidence import Evidence
from csfs.engine.live import meta_of
from csfs.engine.whereabouts import There
from scripts.simulation import disasters
from scripts.simulation.dice import Dice
from scripts.simulation.host import Host
from scripts.simulation.moments import Moment
from scripts.simulation.rights import rights_in
from scripts.simulation.saved import Saved
from scripts.simulation.saving import saved
from scripts.simulation.telling import Look
from scripts.simulation.tree import Node, Owner


class Disk:
    """The disk of one member."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._bytes: set[tuple[int, bytes]] = set()
        """Inodes, and bytes of theirs that were synced."""
        self._retained = frozenset[tuple[RelPath, bytes]]()
        """What peers' changes had taken away when everything was written back last."""
        self.untold: set[tuple[RelPath, RelPath]] = set()
        """What was renamed or exchanged before power was cut last, and stands neither in a row that is left nor in the index.

        Or the index that is left does not know what that was, or a power cut has damaged what rows say was put in its place: then
        what is known there comes back.
        """
        self.torn = set[bytes]()
        """What had been synced, and lost all its names when power was cut last, amid a rename of later."""
        host.programs.sync = self._sync
        self.flush()

    def flush(self) -> None:
        """The kernel writes everything back."""
        host = self._host
        del host.programs.rows[: host.digested]
        host.digested = 0
        self._index: Saved = saved(host)
        self._bytes |= {(node.inode, node.data) for node in host.tree.nodes.values()}
        self._retained = frozenset(host.retained)
        self._sync_names()

    def _sync(self, path: RelPath) -> None:
        """A program syncs a file: names and rows so far are on the disk with it."""
        node = self._host.tree.nodes[path]
        self._bytes.add((node.inode, node.data))
        self._sync_names()

    def _sync_names(self) -> None:
        host = self._host
        synced = host.tree.copied()
        self._names: dict[RelPath, Node] = synced.nodes
        self._displaced = synced.displaced
        self._kept = frozenset(host.kept)
        self._rows = len(host.programs.rows)

    def cut(self, dice: Dice) -> set[bytes]:
        """Take the power away and boot again; return the contents that had been on no disk here, and are gone from it."""
        host, tree = self._host, self._host.tree
        before = {node.data for node in tree.nodes.values()} | host.kept
        on_disk = {data for _, data in self._bytes}
        taken_away = {data for _, data in host.retained - self._retained} & on_disk
        rows = host.programs.rows[: self._rows + dice.below(len(host.programs.rows) - self._rows + 1)]
        is_back = dice.one_in(2)
        if is_back:
            tree.nodes = self._names
            host.kept, tree.displaced = set(self._kept), set(self._displaced)
        for node in {id(node): node for node in tree.nodes.values()}.values():
            if node.kind is Kind.FILE and (node.inode, node.data) not in self._bytes and not dice.one_in(3):
                whole = node.data
                node.data = dice.choice((b"\0" + whole, whole.upper()))  # shorter or longer than it was, or not
                names = tree.names_of(node)
                if node.data != whole and node.data not in host.ledger.claimed and any(map(host.follows, names)):
                    host.ledger.damaged.add(node.data)
                    host.moments[Moment.CUT_LINKED] += len(names) > 1
        self.torn = self._lose_renamed() if not is_back and dice.one_in(2) else set()
        # What may live on in a copy alone that was on no disk yet is in the kept store until somebody shows it (R19).
        host.kept |= taken_away - {node.data for node in tree.nodes.values()}
        known = host.digested
        if dice.one_in(2) and not self._index.pulling:
            disasters.take_index(host, self._index)
            is_back, known = True, 0
        self.untold = _moves(host.programs.rows[max(known, len(rows)) :])
        rows = rows[known:]
        for path, node in tree.nodes.items() if is_back else ():
            node.unsure = node.unsure or not _is_recorded(host.index.row(path), node)
        host.programs.rows, host.digested = rows, 0
        host.evidence = _proof(rows, tree.ticks + 1)
        disasters.reboot_after_cut(host)
        self._look_at_moves(rows)
        self._note_replaced(rows)
        self._forget_what_moved_by_itself()
        self.flush()
        synced = {data for _, data in self._bytes}
        return before - host.kept - {node.data for node in tree.nodes.values()} - synced

    def _lose_renamed(self) -> set[bytes]:
        """Take away files that had another name when anything was synced last; return what of them was on the disk."""
        torn = set[bytes]()
        nodes, synced = self._host.tree.nodes, {node.inode for node in self._names.values()}
        for path in [path for path, node in nodes.items() if node.kind is Kind.FILE and node.inode in synced]:
            there = self._names.get(path)
            if there is None or there.inode != nodes[path].inode:
                one = (nodes[path].inode, nodes[path].data)
                torn |= {data for _, data in self._bytes & {one}}
                self._bytes.discard(one)  # which nobody can come by any more
                del nodes[path]
        return torn

    def _look_at_moves(self, rows: Sequence[Change]) -> None:
        """Rows say where objects came from: what is known of them there is known of them here."""
        programs, came, left = self._host.programs, dict[RelPath, RelPath](), set[RelPath]()
        for row in rows:
            if row.target is not None and row.kind in (ChangeKind.RENAME, ChangeKind.EXCHANGE):
                ours, theirs = _taken(came, row.path), _taken(came, row.target)
                if self._host.index.row(ours[RelPath(b"")]) is None:
                    self.untold.add((row.path, row.target))
                if row.kind is ChangeKind.EXCHANGE and self._host.index.row(theirs[RelPath(b"")]) is None:
                    self.untold.add((row.target, row.path))
                came.update(_under(ours, row.target))
                left |= {*ours.values()}
                if row.kind is ChangeKind.EXCHANGE:
                    came.update(_under(theirs, row.path))
                    left |= {*theirs.values()}
            elif row.kind is ChangeKind.CREATE:
                came.pop(row.path, None)
        for path in self._host.tree.nodes:
            first = _first(came, path)
            if first != path:
                programs.look_again(path, Look(moved_from=first))
        there = {first: path for path, first in came.items()}
        for path in self._host.index.rows():
            if any(path == one or is_below(path, one) for one in left):
                last = _first(there, path)
                programs.look_again(path, Look(moved_to=last if last != path else None))

    def _note_replaced(self, rows: Sequence[Change]) -> None:
        """Note what was renamed, and is to be at its old name all the same, for something was put there that is damaged."""
        host, evidence = self._host, self._host.evidence
        assert evidence is not None, "a power cut without a journal"
        for path, row in host.index.rows().items():
            target, source = (
                _replaced(rows, path),
                host.index.row(host.programs.looks.get(path, Look()).moved_from or path),
            )
            came = source.applied.observation if source is not None and source is not row else None
            if target is not None and evidence.is_damage(path, row, host.tree.observed(path), came, lambda _: There()):
                self.untold.add((path, target))

    def _forget_what_moved_by_itself(self) -> None:
        """What was renamed without a row that is left is what this disk shows: nobody knows where it came from."""
        host = self._host
        for path, node in host.tree.nodes.items():
            row = host.index.row(host.programs.looks.get(path, Look()).moved_from or path)
            shown = row.applied.observation if row is not None else None
            is_known = shown is not None and shown.stamp.inode == node.inode
            node.unsure = node.unsure or not (is_known or node.is_made_here)


def _moves(rows: Sequence[Change]) -> set[tuple[RelPath, RelPath]]:
    """Return from where to where rows say that something was moved."""
    moves = set[tuple[RelPath, RelPath]]()
    for row in rows:
        if row.target is not None and row.kind in (ChangeKind.RENAME, ChangeKind.EXCHANGE):
            moves.add((row.path, row.target))
            if row.kind is ChangeKind.EXCHANGE:
                moves.add((row.target, row.path))
    return moves


def _replaced(rows: Sequence[Change], path: RelPath) -> RelPath | None:
    """Return where what was at a path went first, if the last row of a name there says that something was put there; else None."""
    went, is_put = None, False
    for row in rows:
        for source, target in _moves((row,)):
            if went is None and (path == source or is_below(path, source)):
                went = RelPath(target + path[len(source) :])
        if path == row.path and row.kind in (ChangeKind.CREATE, ChangeKind.REMOVE, ChangeKind.RENAME):
            is_put = row.kind is ChangeKind.CREATE
        elif path == row.target or (path == row.path and row.kind is ChangeKind.EXCHANGE):
            is_put = True
    return went if is_put else None


def _first(came: Mapping[RelPath, RelPath], path: RelPath) -> RelPath:
    """Return by which name something was known first, by what is said of it, or of a directory above it."""
    above = next((one for one in (path, *ancestors_of(path)) if one in came), None)
    return RelPath(came[above] + path[len(above) :]) if above is not None else path


def _taken(came: dict[RelPath, RelPath], path: RelPath) -> dict[RelPath, RelPath]:
    """Take out what is said of a path and of what is below it: by the rest of the name, how it was known first."""
    first = _first(came, path)
    below = {one: came.pop(one) for one in [one for one in came if is_below(one, path)]}
    came.pop(path, None)
    return {RelPath(b""): first} | {RelPath(one[len(path) :]): name for one, name in below.items()}


def _under(names: Mapping[RelPath, RelPath], path: RelPath) -> dict[RelPath, RelPath]:
    return {RelPath(path + rest): name for rest, name in names.items()}


def _is_recorded(row: Row | None, node: Node) -> bool:
    """Return whether the index knows whose this is, as it is shown here: of two owners with one number, it may know the other.

    So it may of flags and rights, where the disk shows none.
    """
    shown = row.applied.observation if row is not None else None
    if row is None or shown is None or (shown.stamp.inode, shown.uid, shown.gid) != (node.inode, node.uid, node.gid):
        return False
    meant = row.applied.meta or meta_of(shown)
    is_given = node.flags_meant in (None, flags_in(meant.xattrs)) and node.rights_meant in (
        None,
        rights_in(meant.xattrs),
    )
    return is_given and Owner(meant.owner, meant.uid) == node.owner and Owner(meant.group, meant.gid) == node.group


def _proof(rows: Sequence[Change], booted: int) -> Evidence:
    evidence = Evidence(booted)
    for row in rows:
        evidence.take(row)
    return evidence
