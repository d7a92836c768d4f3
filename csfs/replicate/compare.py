"""Comparing the whole tree with the index: at mount, when rows may be missing, and when a member joins.

Only stamps are looked at here; what differs goes the way of every change. The walk and the index are read side by side in the order
of paths, in a thread, portion by portion: the loop hears of what differs alone, and a million paths take little memory.
"""

import logging
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace

import trio

from csfs.core.objects import changed_ns
from csfs.core.paths import RelPath, is_below
from csfs.index import asked, columns
from csfs.index.shown import Shown
from csfs.replicate.doubts import unsure_since_ns
from csfs.replicate.looking import Reason
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Root, Volume
from csfs.store.scanning import Chunk, Skipped, scan

log = logging.getLogger(__name__)

LOOKS_MAX = 2_000
"""How many paths may wait to be looked at before the walk goes on."""
EQUAL_S_MAX = 0.1
"""How long a thread goes on while nothing differs: whoever stops the comparison waits that long."""
LOG_PATIENCE_S = 60.0
"""How long a comparison waits, once, for the index's log to be begun anew."""


@dataclass(slots=True)
class Differences:
    """What a part of the walk came upon: `count` paths, of which `changed` have another stamp than is shown, or are not known;
    `racy` have the one that is shown, which proves nothing (R23). `gone` are shown and not there.
    """

    count: int = 0
    skipped: Sequence[Skipped] = ()
    changed: list[RelPath] = field(default_factory=list)
    racy: list[RelPath] = field(default_factory=list)
    gone: list[RelPath] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.changed or self.racy or self.gone or self.skipped)


async def compare(
    volume: Volume, observer: Observer, below: RelPath, *, joining: bool = False, pace: float = 1.0
) -> int:
    """Have every path below `below` looked at whose stamp is not the one shown, and every path that is gone.

    Returns when all of them are digested: how many paths there are. `joining`: what is here meets what the cluster has (R14). `pace` is
    the share of the time that may be spent on finding differences.

    Raises:
        trio.ClosedResourceError: the volume was unmounted, also if it is mounted anew by now.
    """
    reason = Reason(joining=joining, compared=not joining)
    begin, count, gone, patience_s = trio.current_time(), 0, 0, LOG_PATIENCE_S
    with volume.index.shown() as reader:
        unsure_ns = unsure_since_ns(volume)
        flags = bool(volume.rules.flagged)
        root, parts = await volume.with_root(
            lambda root: (root, differences(root, reader, below, unsure_ns, flags=flags))
        )
        asked_at = trio.current_time()
        while (part := await volume.with_root(_worth_telling, root, parts)) is not None:
            found_at = trio.current_time()
            count += part.count
            gone += len(part.gone)
            if part.changed or part.gone:
                # What was moved is looked at once it is told where it went; a daemon that has just begun still reads the journal.
                await observer.hear_mount()
            for item in part.skipped:
                volume.set_problem(item.path, f"not followed: {item.reason}")
            for path in part.racy:
                observer.look(path, replace(reason, content=True))
            for path in (*(one for one in part.changed if _is_looked_at(volume, one)), *part.gone):
                observer.look(path, reason)
            with trio.move_on_after(patience_s) as waiting:
                await volume.progress.wait_until(lambda: not volume.index.is_log_long)
            if waiting.cancelled_caught:
                patience_s = 0.0  # somebody reads the index, and does not stop: its log will have to grow
            await volume.progress.wait_until(lambda: observer.looks < LOOKS_MAX)
            await trio.sleep((found_at - asked_at) * (1 / pace - 1))
            asked_at = trio.current_time()
    observer.look(below, reason)
    await volume.progress.wait_until(lambda: not observer.looks and observer.idle)
    log.info(
        "%s: compared %d paths below /%s in %.1f s, %d gone",
        volume.name,
        count,
        below.decode(errors="replace"),
        trio.current_time() - begin,
        gone,
    )
    return count


def _is_looked_at(volume: Volume, path: RelPath) -> bool:
    """Return whether it matters that a path has changed: to others, or once it is followed again, if a power cut may have done that."""
    return volume.is_followed(path) or (volume.evidence is not None and volume.index.rows.row(path) is not None)


def _worth_telling(root: Root, walked: Root, parts: Iterator[Differences]) -> Differences | None:
    """Return the next part that differs in anything, together with what is equal before it; for a thread.

    Of what is equal the loop hears every now and then: to wake it for each part takes longer than the comparing on a busy host.
    """
    if root is not walked:
        raise trio.ClosedResourceError("unmounted, and mounted anew: what is walked is closed")
    deadline, equal = time.monotonic() + EQUAL_S_MAX, 0
    for part in parts:
        part.count += equal
        if part.gone:
            root.check()
        if part.differs or time.monotonic() > deadline:
            return part
        equal = part.count
    return Differences(equal) if equal else None


def differences(
    root: Root, reader: Shown, below: RelPath, unsure_ns: int | None = None, *, flags: bool = False
) -> Iterator[Differences]:
    """Yield how the tree differs from the index, part by part; each in a thread.

    The stamp of what was changed since `unsure_ns` proves nothing; None: those alone that say so. `flags`: some group keeps them the
    same, perhaps since a moment ago, of which no stamp tells.
    """
    skipped: list[Skipped] = []
    above, end = asked.below(below)
    for chunk in scan(root.tree.root, below):
        skipped += chunk.skipped
        if chunk.found:
            last = next(reversed(chunk.found))
            part = _compared(chunk, reader, (above, last + b"\0"), skipped)
            if unsure_ns is not None:
                new = {*part.changed, *part.racy}
                part.racy += [p for p, at in chunk.found.items() if p not in new and changed_ns(at) >= unsure_ns]
            if flags:
                new = {*part.changed, *part.racy}
                part.changed += [path for path in chunk.found if path not in new and root.tree.flags(path)]
            yield part
            above = last
        else:
            yield Differences(skipped=chunk.skipped)
    for portion in reader.portions(above, end):
        yield Differences(gone=[path for path in portion if not _is_skipped(path, skipped)])


def _compared(chunk: Chunk, reader: Shown, bounds: tuple[bytes, bytes], skipped: Sequence[Skipped]) -> Differences:
    """Return how what was found differs from what is shown between `bounds`."""
    found = chunk.found
    result = Differences(len(found), chunk.skipped)
    new: Set[RelPath] = found.keys()
    for portion in reader.portions(*bounds):
        if portion == found:  # hardly ever anything else
            return result
        new = new - portion.keys()
        for path, stamp in portion.items() - found.items():
            at = found.get(path)
            if at is not None:
                (result.racy if stamp == at + columns.RACY else result.changed).append(path)
            elif not _is_skipped(path, skipped):
                result.gone.append(path)
    result.changed.extend(new - reader.held_among(new))
    return result


def _is_skipped(path: RelPath, skipped: Sequence[Skipped]) -> bool:
    return any(path == item.path or is_below(path, item.path) for item in skipped)
