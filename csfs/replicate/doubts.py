"""After a power cut: what the disk shows is somebody's change only where the journal proves it (R24)."""

import logging
import time
from collections.abc import Sequence
from functools import partial

import msgspec

from csfs.core.changes import Change
from csfs.core.objects import Observation, Stamp
from csfs.core.paths import RelPath, shown
from csfs.errors import CsfsError
from csfs.replicate.looking import Reason
from csfs.replicate.names import Found
from csfs.replicate.volume import Volume
from csfs.store.attributes import stamp_of
from csfs.store.tree import Look

log = logging.getLogger(__name__)

UNSURE_NS = 600 * 10**9
"""So long before the last thing that is known to have happened, data may not have reached its disk though its stamp has: kernels write
back after half a minute, busy ones later."""


def note(volume: Volume, change: Change) -> None:
    """Take in a row, or what a watch has told just now: it proves as much as a row from before the power cut."""
    if volume.evidence is not None:
        volume.evidence.take(change if change.time_ns else msgspec.structs.replace(change, time_ns=time.time_ns()))


def recorded(volume: Volume, path: RelPath, *, is_unseen: bool) -> None:
    """What is at a path was recorded; `is_unseen`: rows tell of something there that is still to be looked at."""
    if volume.evidence is not None and not is_unseen:
        volume.evidence.recorded(path)


def judge(volume: Volume, found: Sequence[Found]) -> None:
    """Judge the bytes of all that was found, whether or not it is taken into account now."""
    for path, reason, result in found if volume.evidence is not None else ():
        if isinstance(result, Look) and volume.evidence is not None and not reason.joining:
            volume.engine.judge(volume.evidence, path, result.observation, reason.moved_from)


def is_taken(volume: Volume, path: RelPath, found: Observation | None, reason: Reason) -> bool:
    """Return whether somebody has taken away what was shown where a power cut has left something: what is gone is told first."""
    if volume.evidence is None or reason.joining:
        return False
    return volume.engine.is_taken(volume.evidence, path, found, reason.moved_from, partial(_stamp_at, volume))


def holds(volume: Volume, path: RelPath, found: Observation | None, reason: Reason) -> bool:
    """Return whether what was found is nobody's change; it is noted then, and is mended once what is known is to be had.

    What somebody has put in the place of what is lost is a change that stands beside it.
    """
    evidence, engine = volume.evidence, volume.engine
    if evidence is None or reason.joining:
        return False
    if not engine.is_damage(evidence, path, found, reason.moved_from, partial(_stamp_at, volume)):
        return False
    if engine.doubt(path, found):
        volume.index.suspects.put(path, time.time_ns())
        what = "is gone" if found is None else "is not believed"
        log.warning("%s: %s %s: a power cut may have done that", volume.name, shown(path), what)
    return True


def _stamp_at(volume: Volume, path: RelPath) -> Stamp | None:
    """Return the stamp of what is at a path now; None for nothing, and for what cannot be looked at."""
    try:
        status = volume.root.tree.lstat(path) if volume.root is not None else None
    except (OSError, CsfsError):
        return None
    return stamp_of(status) if status is not None else None


def unsure_since_ns(volume: Volume) -> int | None:
    """Return from which change time on a stamp does not prove that the data are there; None: they are."""
    if volume.evidence is None:
        return None
    return min(volume.index.rows.clock(), volume.evidence.booted_ns) - UNSURE_NS


def alarm(volume: Volume) -> str:
    """Return what a person has to know; empty for nothing."""
    left = volume.index.suspects.left()
    if not left:
        return ""
    first = shown(next(iter(left)))
    which = first if len(left) == 1 else f"{first} and {len(left) - 1} more"
    return (
        f"a power cut may have damaged {which}: not sent, and put right once a member that has the version before is connected; "
        "csfs approve lists them, and takes one as it is"
    )
