"""What is announced to the mount for works that were built, and what their paths show when they are done."""

from collections.abc import Mapping, Sequence

import msgspec

from csfs.core.objects import Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.rows import Step
from csfs.replicate.dressed import flags_of, with_attributes, with_flags
from csfs.replicate.volume import Volume
from csfs.replicate.works import Work, attributes_of
from csfs.wire.control import Action, Commit, CommitResult, Install, Link, Move, Overwrite, Remove

NOTHING = Stamp(0, 0, 0, 0)


def commits_of(volume: Volume, works: Sequence[Work], digested: int) -> list[Commit]:
    """Return what to announce, in order; rows up to `digested` were taken into account."""
    stamps = {work.plan.path: work.built.observation.stamp for work in works if work.built is not None}
    stamps |= {w.plan.path: w.removal.plan.expected or NOTHING for w in works if w.removal is not None}
    return [Commit(w.commit_id, digested, w.plan.path, w.plan.expected, _action_of(volume, w, stamps)) for w in works]


def _action_of(volume: Volume, work: Work, stamps: Mapping[RelPath, Stamp]) -> Action:
    """Return what is to be done; `stamps` are those of what this batch puts at each path."""
    plan, kept = work.plan, b"" if work.copied else work.kept
    match plan.step:
        case Step.INSTALL if work.overwrites:
            return Overwrite(work.staged)
        case Step.INSTALL if work.removal is not None:
            return Move(work.removal.plan.path, stamps[plan.path])
        case Step.INSTALL if plan.link is not None:
            source = volume.engine.link_source(plan)
            expected = stamps.get(plan.link) or (source.stamp if source is not None else NOTHING)
            return Link(plan.link, expected, work.staged, kept)
        case Step.INSTALL:
            return Install(work.staged, kept, flags_of(plan, volume.treated(plan.path)))
        case Step.REMOVE:
            return Remove(kept)
        case Step.ATTRIBUTES:
            work.attributes = attributes_of(plan, volume.treated(plan.path))
            return work.attributes


def shown_after(volume: Volume, work: Work, result: CommitResult) -> Observation | None:
    """Return what a path shows after its commit; None also if what it was linked to has been forgotten meanwhile."""
    plan, stamp = work.plan, result.stamp
    if plan.step is Step.REMOVE:
        return None
    assert stamp is not None
    if plan.step is Step.ATTRIBUTES:
        assert work.attributes is not None
        return with_attributes(plan, work.attributes, stamp, volume.treated(plan.path), result.left_out)
    if work.removal is not None:
        found = work.removal.plan.base
    else:
        found = work.built.observation if work.built is not None else volume.engine.link_source(plan)
    if found is None:
        return None
    found = with_flags(found, work, volume.treated(plan.path), result.left_out)
    return msgspec.structs.replace(found, stamp=stamp, mtime_ns=stamp.mtime_ns, links=result.links)
