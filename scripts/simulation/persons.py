"""What persons decide at simulated members, as commands of csfs do."""

import msgspec

from csfs.core.objects import Kind
from csfs.engine.live import content_of, meta_of
from scripts.simulation.host import Host
from scripts.simulation.tree import hash_of


def reject(host: Host, now_ns: int) -> None:
    """Turn down what the brake holds back: what is shown here supersedes it, at all members."""
    host.digest(now_ns)
    for waiting in host.brake.waiting.left():
        row, path = host.index.row(waiting.path), waiting.path
        shown = row.applied.observation if row is not None else None
        if row is None or shown is None or not host.engine.may_settle(path):
            continue
        content, applied = content_of(shown), row.applied
        if applied.mtime_ns is not None and content.kind is not Kind.DIRECTORY:
            content = msgspec.structs.replace(content, mtime_ns=applied.mtime_ns)
        overruled = {entry.value.hash for entry in row.record.content.entries} - {content.hash}
        host.ledger.replaced |= {data for data in host.ledger.written if hash_of(data) in overruled}
        host.engine.settle(path, content, applied.meta or meta_of(shown), now_ns)
        host.brake.turned_down(waiting)
    host.index.commit()
