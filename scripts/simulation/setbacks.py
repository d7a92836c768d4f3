"""What sets members of a run back to what they were, or takes from them what they had."""

from collections.abc import Container, Sequence

import msgspec

from csfs.core.paths import RelPath
from scripts.simulation import securing
from scripts.simulation.dice import Dice
from scripts.simulation.host import Host
from scripts.simulation.killing import die_applying, die_moving
from scripts.simulation.links import Link
from scripts.simulation.network import Network
from scripts.simulation.plan import Act, Action
from scripts.simulation.power import Disk
from scripts.simulation.saved import Saved
from scripts.simulation.saving import restore, saved
from scripts.simulation.second_lives import SecondLife
from scripts.simulation.telling import shown_by
from scripts.simulation.tree import Node, hash_of

FORGETFUL = 4
"""One in so many kills of a daemon takes along that something was still to be shown."""


class Setbacks(Network):
    """A cluster of which members are killed, restored, cloned, and lose things."""

    def _crash(self, action: Action, host: Host, dice: Dice) -> None:
        self._isolate(host)
        securing.lost(self, host.number, Act.CRASH)
        host.crash(dice)
        if action.dice % FORGETFUL == 0:
            self._forget_pending(host, dice)

    def _die(self, action: Action, host: Host, dice: Dice) -> None:
        moved = [link for link in self.links.values() if link.target is host and link.source.engine._wholes]
        dies_moving = any(self._tells_move(link) and die_moving(link, dice, self.now(host)) for link in moved)
        if dies_moving or die_applying(host, dice, self.now(host)):
            self._crash(action, host, dice)

    def _tells_move(self, link: Link) -> bool:
        """Have all arrive that comes before the next move of a directory on this link; return whether there is one."""
        while link.up and link.awaited is None and link.send(100):
            while link.awaited is None and self._arrive(link):
                pass
        while len(link.flying) > 1:
            self._arrive(link)
        return link.up and link.awaited is not None and bool(link.flying)

    def _save(self, action: Action, host: Host, dice: Dice) -> None:
        self.saves[action.member] = saved(host)

    def _restore(self, action: Action, host: Host, dice: Dice) -> None:
        backup = self.saves.pop(action.member, None)
        if backup is None:
            return
        lost, shown = {node.data for node in host.tree.nodes.values()} | host.kept, dict(host.tree.nodes)
        self._isolate(host)
        self.restored.add(action.member)
        securing.lost(self, host.number, Act.RESTORE)
        is_booting = dice.one_in(2)
        restore(host, backup, booting=is_booting)
        self._ends_second_life(host)
        if not is_booting:  # else it is another incarnation, whose changes nobody takes for the lost ones
            self._goes_on(host, SecondLife(host))
        linked = [pair for pair in self.ledger.together if shown.get(pair[0], 0) is shown.get(pair[1])]
        self.ledger.part(pair for pair in linked if not self._stay_linked(host, *pair))
        self._stands_told(host)
        # What was removed before it was made anew is removed again.
        self.ledger.taken |= {path for path, node in shown.items() if not self._is_left(host, path, node)}
        self._follow_again(host, backup)
        self.disks[host.number] = Disk(host)
        self._left_with(lost, self.hosts)

    def _stands_told(self, host: Host) -> None:
        """What a member has set back to, and nobody was known to have stored, stands at others who were told of it since (R8)."""
        for path in host.programs.touched | host.engine.in_doubt_if_set_back():
            node, is_known = host.tree.nodes.get(path), self._is_known_elsewhere(host, path)
            if node is not None and is_known:
                self.ledger.told.setdefault(path, set()).add(shown_by(node))
            elif is_known:
                # Others have heard that it went: what is put back there before anybody looks looks like what was there.
                self.ledger.doubled.add(path)

    def _is_known_elsewhere(self, host: Host, path: RelPath) -> bool:
        rows = (other.index.row(path) for other in self.hosts if other is not host)
        return any(row is not None and row.record.content.entries for row in rows)

    def _goes_on(self, host: Host, life: SecondLife) -> None:
        """A member was set back, and goes on as the same incarnation."""
        life.witnesses = life.who_has_heard_more(self.hosts)
        life.touched |= host.programs.touched
        self.second_lives[host.name] = life
        self.lives.append((host.name, life))

    def _ends_second_life(self, host: Host) -> SecondLife | None:
        """A member knows that it was set back, or is set back once more: what others have heard of since stays as it was told."""
        life = self.second_lives.pop(host.name, None)
        if life is not None and life.witnesses and life.who_has_heard_more(self.hosts) - life.witnesses:
            self.made_twice |= {(path, host.name) for path in life.touched}
        return life

    def _is_left(self, host: Host, path: RelPath, before: Node) -> bool:
        """Return whether what a member showed at a path before it was set back is there, or something at one that never was."""
        node = host.tree.nodes.get(path)
        is_same = node is not None and node.inode == before.inode and not self._is_taken_away(host, path)
        return node is not None and self._is_somewhere(path, set() if is_same else self.restored)

    def _is_taken_away(self, host: Host, path: RelPath) -> bool:
        """Return whether others know that something is gone from a path: it may have come back there as the inode that it was."""
        rows = (one.index.row(path) for one in self.members if one is not host)
        return any(row is not None and not row.live for row in rows)

    def _is_somewhere(self, path: RelPath, apart: Container[int] = ()) -> bool:
        """Return whether a member that may tell the others of it shows something at a path, to stay, `apart` from some."""
        telling = [one for one in self.members if one.name not in self.shape.receive_only and one.number not in apart]
        return any(path in one.tree.nodes and not one.is_going(path) for one in telling)

    def _clone(self, action: Action, host: Host, dice: Dice) -> None:
        """Another host has a copy of this member, identity and all, and takes its place; or the one before takes it again."""
        if self.parked and action.member not in self.parked:
            return
        self._isolate(host)
        # What was not taken into account yet, or nobody else had stored, becomes a version at each of the two.
        self.ledger.doubled |= host.programs.touched | host.programs.unsettled | host.engine.in_doubt_if_set_back()
        parked, self.parked[action.member] = self.parked.get(action.member), saved(host)
        life, twin = self._ends_second_life(host), self.parked_lives.get(host.name)
        self.parked_lives[host.name] = life if life is not None and life.is_that_of(host) else SecondLife(host)
        if parked is None or twin is None:
            self._goes_on(host, SecondLife(host))
        else:
            self.restored.add(action.member)
            securing.lost(self, host.number, Act.CLONE)
            restore(host, parked, booting=False)
            self._goes_on(host, twin)
            self._follow_again(host, parked)
            self.disks[host.number] = Disk(host)

    def _follow_again(self, host: Host, backup: Saved) -> None:
        if backup.scopes != [group.scope for group in host.rules.groups]:
            host.adopt(host.rules)

    def _rot(self, action: Action, host: Host, dice: Dice) -> None:
        """A bad disk, or a bug, takes something that is known and not shown yet: nobody would send it again."""
        rows = host.index.rows().items()
        unseen = sorted(path for path, row in rows if row.scope and row.live and row.applied.observation is None)
        if action.dice % 2 or not unseen:
            self._forget_pending(host, dice)
        elif not host.intents and not host.pulling:
            path = dice.choice(unseen)
            row = host.index.row(path)
            assert row is not None
            # Who makes something there before it is back has, by what he knows, seen what was lost.
            hashes = {entry.value.hash for entry in row.record.content.entries}
            self.ledger.excused |= {data for data in self.ledger.written if hash_of(data) in hashes}
            host.index.drop(path)
            host.index.commit()
            self.rotten.add(path)

    def _forget_pending(self, host: Host, dice: Dice) -> None:
        """A bad disk, or a bug, takes that something is still to be shown: nobody would see to it."""
        pending = host.index.pending() if not (host.intents or host.pulling) else []
        for path in (path for path in pending if dice.one_in(2)):
            row = host.index.row(path)
            assert row is not None
            host.index.put(path, msgspec.structs.replace(row, pending=False))
            self.forgotten.add((host.name, path))
        host.index.commit()

    def _power_cut(self, action: Action, host: Host, dice: Dice) -> None:
        if host.pulling:
            return  # what a host damages before it is a member is its own
        self._isolate(host)
        self.restored.add(action.member)
        securing.lost(self, host.number, Act.POWER_CUT)
        shown = {path: node.inode for path, node in host.tree.nodes.items()}
        linked = [pair for pair in self.ledger.together if shown.get(pair[0], 0) == shown.get(pair[1])]
        lost = self.disks[host.number].cut(dice)
        securing.torn(self, host.number, lost & self.disks[host.number].torn)
        self.ledger.untold |= {move for move in self.disks[host.number].untold if not self._is_heard(host, *move)}
        if host.scopes != [group.scope for group in host.rules.groups]:
            host.adopt(host.rules)
        went = {(path, look.moved_to) for path, look in host.programs.looks.items() if look.moved_to is not None}
        host.digest(self.now(host))
        # What nobody believes is not where it went for anybody, but comes back where it was.
        self.ledger.untold |= {
            move for move in went if host.suspects.issuperset(move) and not self._is_heard(host, *move)
        }
        self.ledger.part(pair for pair in linked if not self._stay_linked(host, *pair))
        # What is not believed, or is back, gives way to whatever others know, be it that nothing is there.
        left = {path: node.inode for path, node in host.tree.nodes.items() if path not in host.suspects}
        self.ledger.taken |= {
            path for path, inode in shown.items() if left.get(path) != inode or not self._is_somewhere(path)
        }
        self.disks[host.number].flush()
        # Who only receives does not answer for what others have lost.
        writers = [other for other in self.members if other.name not in self.shape.receive_only and not other.pulling]
        self._left_with(lost, writers)
        self.ledger.excused |= {data for data in lost if self._was_taken_out(host, data)}

    def _left_with(self, lost: set[bytes], others: Sequence[Host]) -> None:
        """Contents went down with a disk: only those of `others` that have them answer for them now, whoever wrote them."""
        for data in lost:
            holders = {other.name for other in others if other.holds(data)}
            if holders:
                self.ledger.orphans[data] = holders
            else:
                self.ledger.excused.add(data)

    def _stay_linked(self, host: Host, *names: RelPath) -> bool:
        """Return whether what was linked is known so to somebody, or the disk shows it and nobody knows of anything in doubt there."""
        # A member that was set back lets go of what it alone knows, and makes nothing anew that a power cut has left (R24).
        is_unsure = not host.suspects.isdisjoint(names) and not host.engine.in_doubt_if_set_back().isdisjoint(names)
        telling = [other for other in self.hosts if other is not host or not is_unsure]
        if any(names[1] in other.engine.names_of(names[0]) for other in telling):
            return True
        nodes = [host.tree.nodes.get(path) for path in names]
        return nodes[0] is not None and nodes[0] is nodes[1] and all(self._is_undisputed(host, path) for path in names)

    def _is_undisputed(self, host: Host, path: RelPath) -> bool:
        """Return whether a member shows a version at a path, or nobody knows of any there."""
        row = host.index.row(path)
        if row is not None and row.applied.content_dot is not None:
            return True
        rows = (other.index.row(path) for other in self.hosts)
        return not any(row is not None and row.record.content.entries for row in rows)

    def _is_heard(self, host: Host, source: RelPath, target: RelPath) -> bool:
        """Return whether another member than this one knows that something was moved."""
        rows = (other.index.row(source) for other in self.hosts if other is not host)
        entries = (entry for row in rows if row is not None for entry in row.record.content.entries)
        return any(move.target == target for entry in entries for move in entry.moves)

    def _was_taken_out(self, host: Host, data: bytes) -> bool:
        """Return whether a content was moved to where the others do not listen to this member, or will not: for them it was removed."""
        rows = host.index.rows().items()
        paths = [p for p, row in rows if any(e.value.hash == hash_of(data) for e in row.record.content.entries)]
        groups = [self.shape.compiled(host.name).group_of(path) for path in paths]
        is_heard = any(group is not None and host.name in group.members for group in groups)
        return data in host.programs.taken_out or (bool(paths) and not is_heard)
