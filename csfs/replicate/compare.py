"""Comparing the whole tree with the index: at mount, when rows may be missing, and when a member joins.

Only stamps are looked at here; what differs goes the way of every change.
"""

import logging
from collections.abc import Sequence

import trio

from csfs.core.paths import RelPath, is_below
from csfs.index.rows import RACY, packed_stamp
from csfs.replicate.looking import Reason
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Volume
from csfs.store.scanning import Found, Skipped, scan

log = logging.getLogger(__name__)


async def compare(volume: Volume, observer: Observer, below: RelPath, *, joining: bool = False) -> None:
    """Have every path below `below` looked at whose stamp is not the one shown, and every path that is gone.

    Returns when all of them are digested. `joining`: what is here meets what the cluster has (R14).
    """
    begin = trio.current_time()
    seen: set[int] = set()
    held = set(volume.index.ledger.held())
    count = 0
    skipped: list[Skipped] = []
    chunks = await volume.with_root(lambda root: scan(root.tree.root, below))
    while chunk := await volume.with_root(lambda _: next(chunks, None)):
        count += len(chunk.found)
        seen.update(hash(found.path) for found in chunk.found)
        skipped += chunk.skipped
        _look_at_differing(volume, observer, chunk.found, held, joining=joining)
        await volume.progress.wait_until(lambda: observer.looks < 2_000)
    gone = [
        path
        for path in volume.index.rows.shown_paths(below)
        if hash(path) not in seen and not _is_skipped(path, skipped)
    ]
    for item in skipped:
        volume.set_problem(item.path, f"not followed: {item.reason}")
    for path in gone:
        observer.look(path, Reason(joining=joining))
    observer.look(below, Reason(joining=joining))
    await volume.progress.wait_until(lambda: not observer.looks and observer.idle)
    log.info(
        "%s: compared %d paths below /%s in %.1f s, %d gone",
        volume.name,
        count,
        below.decode(errors="replace"),
        trio.current_time() - begin,
        len(gone),
    )


def _is_skipped(path: RelPath, skipped: Sequence[Skipped]) -> bool:
    return any(path == item.path or is_below(path, item.path) for item in skipped)


def _look_at_differing(
    volume: Volume, observer: Observer, found: Sequence[Found], held: set[RelPath], *, joining: bool
) -> None:
    stored = volume.index.rows.stamps([item.path for item in found])
    for item, known in zip(found, stored, strict=True):
        path, packed = item.path, packed_stamp(item.stamp)
        if known == packed + RACY:
            observer.look(path, Reason(True, joining=joining))
        elif known is None and path in held:
            continue  # to stay here alone, until somebody changes it
        elif known != packed and volume.is_followed(path):
            observer.look(path, Reason(joining=joining))
