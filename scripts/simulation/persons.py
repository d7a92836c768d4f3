"""What persons decide at simulated members, as commands of csfs do."""

import msgspec

from csfs.core.objects import Applied, Content, Kind, Meta
from csfs.core.paths import RelPath, parent_of
from csfs.engine.live import content_of, meta_of
from scripts.simulation import rights
from scripts.simulation.host import Host
from scripts.simulation.telling import shown_by
from scripts.simulation.tree import Node, hash_of

NEWCOMER = (1003, rights.NAMED[1])
"""Who is not known everywhere, with the number that he is given where he comes to be."""


def take_account(host: Host, number: int) -> None:
    """Take an account away; what rights it was given or lost since anybody looked, no disk tells without its name."""
    name = host.tree.names.pop(number)
    for path, node in host.tree.nodes.items():
        row = host.index.row(path)
        seen = row.applied.observation if row is not None else None
        recorded = rights.rights_in(seen.xattrs) if seen is not None else {}
        is_given = number in rights.rights_in(rights.observed(node.acl, host.tree.names)) and name not in recorded
        node.unsure = node.unsure or is_given or _is_taken_unseen(host, node, name)


def _is_taken_unseen(host: Host, node: Node, name: str) -> bool:
    """Return whether somebody has lost rights, perhaps under another path, that the disk did not show when it was looked at."""
    if node.rights_meant is None or name in node.rights_meant:
        return False
    applied = [row.applied for row in host.index.rows().values()]
    return any(
        name in rights.rights_in(known.meta.xattrs) and name not in rights.rights_in(known.observation.xattrs)
        for known in applied
        if known.meta is not None and known.observation is not None and known.observation.stamp.inode == node.inode
    )


def reject(host: Host, now_ns: int) -> None:
    """Turn down what the brake holds back: what is shown here supersedes it, at all members."""
    host.digest(now_ns)
    for waiting in host.brake.waiting.left():
        row, path = host.index.row(waiting.path), waiting.path
        shown = row.applied.observation if row is not None else None
        if row is None or shown is None or not host.engine.may_settle(path):
            continue
        content, meta = _meant_by(row.applied)
        overruled = {entry.value.hash for entry in row.record.content.entries} - {content.hash}
        host.ledger.replaced |= {data for data in host.ledger.written if hash_of(data) in overruled}
        host.engine.settle(path, content, meta, now_ns)
        host.programs.claim(host.tree.nodes[path])  # also what a power cut has left: he takes what is shown as it is
        _decided(host, path)
        host.brake.turned_down(waiting)
    host.index.commit()


def _meant_by(applied: Applied) -> tuple[Content, Meta]:
    """Return what is shown, as its author meant it: the disk may show it less exactly (R4)."""
    shown = applied.observation
    assert shown is not None, "nothing is shown"
    content = content_of(shown)
    if applied.mtime_ns is not None and content.kind is not Kind.DIRECTORY:
        content = msgspec.structs.replace(content, mtime_ns=applied.mtime_ns)
    return content, applied.meta or meta_of(shown)


def _decided(host: Host, path: RelPath) -> None:
    """Under all names that are known here, what is shown at a path is made of what is known here; names given elsewhere keep theirs."""
    row, node = host.index.row(path), host.tree.nodes[path]
    names = host.index.paths_written(row.write) if row is not None and row.write is not None else []
    host.ledger.changed(path, names, None, shown_by(node))


def look_after(host: Host, now_ns: int) -> bool:
    """Settle what a power cut has left and nobody could put right; return whether there was anything."""
    left = [path for path in sorted(host.suspects) if _is_left(host, path)]
    host.suspects.clear()
    for path in left:
        host.programs.now_ns = now_ns
        node, row = host.tree.nodes.get(path), host.index.row(path)
        if (
            node is not None
            and row is not None
            and node.data not in host.ledger.damaged
            and not row.record.content.entries
        ):
            host.engine.settle(path, *_meant_by(row.applied), now_ns)
            host.index.commit()
            host.ledger.taken_as_it_is(path, host.tree.names_of(node))
        elif host.tree.is_directory(parent_of(path)) and not host.tree.is_directory(path):
            host.programs.remove(path)
            host.programs.write(path)
    host.digest(now_ns)
    return bool(left)


def _is_left(host: Host, path: RelPath) -> bool:
    """Return whether what is shown at a path stands for no version, or what should be there is not to be had."""
    row = host.index.row(path)
    if row is None or not host.engine.may_settle(path):
        return False
    shown = row.applied.observation
    return row.applied.content_dot is None and (row.pending or shown is not None)
