"""Plans under way, and staging them."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from csfs.core import acls
from csfs.core.objects import Content, Kind, Observation
from csfs.core.paths import RelPath, parent_of, shown
from csfs.core.rows import Plan, Step
from csfs.engine.links import is_same_inode
from csfs.errors import CsfsError
from csfs.replicate.looking import RACY_NS
from csfs.replicate.volume import Root
from csfs.store.naming import with_numbers
from csfs.store.overwriting import displaced_size
from csfs.store.patching import FromPatches
from csfs.store.stage import FromBytes, Source, Staged
from csfs.store.treating import Treated
from csfs.wire.control import Attributes

log = logging.getLogger(__name__)

INLINE_BUILDS_MAX = 2


@dataclass(slots=True)
class Work:
    """One plan under way. `staged` is what the stage holds for it, `error` why it could not be built."""

    plan: Plan
    commit_id: int
    staged: bytes = b""
    kept: bytes = b""
    source: Source | None = None
    built: Staged | None = None
    overwrites: bool = False
    """In place: `staged` is the name of the redo log, and `kept` has the blocks displaced alone."""
    copied: bool = False
    """Whether what is displaced is kept as a copy, because it lives on under another name."""
    removal: "Work | None" = None
    """What takes away, at another path, the object that is shown here: one rename does both."""
    error: OSError | CsfsError | None = None
    attributes: Attributes | None = None
    """What a plan for attributes has set."""


def is_little(works: Sequence[Work]) -> bool:
    """Return whether building this is a few small writes to memory."""
    return len(works) <= INLINE_BUILDS_MAX and all(
        (work.source is None and not work.copied) or isinstance(work.source, FromBytes) or work.removal is not None
        for work in works
    )


def build(root: Root, works: Sequence[Work]) -> None:
    """Stage everything that is to be installed; for a thread."""
    for work in works:
        try:
            _stage(root, work)
        except (OSError, CsfsError) as error:
            work.error = error
        except Exception as error:
            # One path's bug must not hold up the others, nor have all of them planned anew for ever.
            log.exception("unexpected error staging %s", shown(work.plan.path))
            work.error = CsfsError(f"a bug in csfs: {error!r}")
        if work.error is not None and work.copied:
            root.stage.kept.delete(work.kept)


def _stage(root: Root, work: Work) -> None:
    plan = work.plan
    if (work.copied and not _is_kept(root, work)) or plan.step is not Step.INSTALL:
        return
    if plan.link is not None or work.removal is not None:
        return
    assert plan.meta is not None
    if work.overwrites:
        assert isinstance(work.source, FromPatches)
        assert plan.mtime_ns is not None
        work.built = root.stage.prepare_overwrite(work.staged, work.kept, plan.content, plan.mtime_ns, work.source)
    else:
        work.built = root.stage.build(
            work.staged,
            plan.content,
            plan.meta,
            plan.mtime_ns,
            work.source,
            path=plan.path,
            replaces=plan.base is not None and plan.base.kind is plan.content.kind,
        )


def _is_kept(root: Root, work: Work) -> bool:
    """Copy what is displaced to the kept versions; return whether that was done."""
    base = work.plan.base
    assert base is not None, "nothing is displaced"
    try:
        root.stage.keep_copy(work.plan.path, work.kept, Content(Kind.FILE, base.size, base.hash))
    except (OSError, CsfsError) as error:
        work.error, work.source = error, None  # whatever was to be installed is as good as before
        return False
    return True


def observed_at(root: Root, plans: Sequence[Plan], names: Sequence[Sequence[RelPath]]) -> list[Observation | None]:
    """Observe what plans were to change; what cannot be read counts as unchanged. For a thread.

    `names` are, by plan, others at which the same object may be found if it is no longer at the path.
    """
    found: list[Observation | None] = []
    for plan, others in zip(plans, names, strict=True):
        content_changed = False if plan.step is Step.ATTRIBUTES else None
        try:
            seen = root.tree.observe(plan.path, plan.base, content_changed)
            if not is_same_inode(plan.base, seen):
                there = (root.tree.observe(other, plan.base, content_changed) for other in others)
                seen = next((one for one in there if is_same_inode(plan.base, one)), seen)
            found.append(seen)
        except (OSError, CsfsError):
            found.append(plan.base)
    return found


def stock_of(
    root: Root, plans: Sequence[Plan], names: Sequence[Sequence[RelPath]]
) -> tuple[list[Observation | None], set[bytes], set[bytes]]:
    """Return what became of plans, as `observed_at` and `kept_by` have it; for a thread."""
    return observed_at(root, plans, names), *kept_by(root, plans)


def kept_by(root: Root, plans: Sequence[Plan]) -> tuple[set[bytes], set[bytes]]:
    """Return the names of those versions that plans were to keep and that are in the kept store; for a thread.

    What a mount process that was killed had displaced, and not put there yet, is put there first: returns also what that was called
    in the stage.
    """
    wanted = {plan.kept: plan.base.stamp for plan in plans if plan.kept and plan.base is not None}
    kept = {name for name in wanted if root.stage.kept.has(name)}
    rescued = root.stage.rescue_displaced({name: was for name, was in wanted.items() if name not in kept})
    return kept | rescued.keys(), set(rescued.values())


def delete_kept(root: Root, names: Sequence[bytes]) -> None:
    """Remove kept versions of commits that were not made; for a thread."""
    root.stage.kept.delete_all(names)


def is_racy(work: Work, observation: Observation | None) -> bool:
    """Return whether what is shown now has to be read once more (R23): of what was patched, most was not."""
    is_young = observation is not None and time.time_ns() - observation.stamp.ctime_ns < RACY_NS
    return is_young or isinstance(work.source, FromPatches)


def stored_size(work: Work) -> int:
    """Return how many bytes of what was displaced are in the kept store, where its blocks alone are."""
    if not (work.overwrites and work.kept):
        return 0
    assert isinstance(work.source, FromPatches)
    return displaced_size(work.source)


def is_dressed(plan: Plan, base: Observation, treated: Treated) -> bool:
    """Return whether what is shown has the attributes that are wanted already, as this host shows them."""
    meta = plan.meta
    if meta is None:
        return False
    ids = treated.owners.ids(meta.owner, meta.uid, meta.group, meta.gid)
    if ids != (base.uid, base.gid) or meta.mode != base.mode:
        return False
    wanted, _ = with_numbers(treated.carried.of(meta.xattrs), treated.owners)
    return wanted == acls.without_names(base.xattrs)


def attributes_of(plan: Plan, treated: Treated) -> Attributes:
    """Return only what differs from what is shown."""
    base, meta = plan.base, plan.meta
    assert base is not None
    if meta is None:
        return Attributes(mtime_ns=plan.mtime_ns)
    uid, gid = treated.owners.ids(meta.owner, meta.uid, meta.group, meta.gid)
    chowned = (uid, gid) != (base.uid, base.gid)
    wanted, _ = with_numbers(treated.carried.of(meta.xattrs), treated.owners)
    shown = acls.without_names(treated.carried.of(base.xattrs))
    names = {name for name, _ in wanted} if wanted != shown else ()
    # Commits may have changed the time of a directory since, or, by another name, of what has several.
    is_timed = base.kind is not Kind.DIRECTORY and base.links < 2 and base.mtime_ns == plan.mtime_ns
    return Attributes(
        # chown(2) may clear setuid and setgid: the mode is set again with it.
        mode=meta.mode if chowned or meta.mode != base.mode or wanted != shown else None,
        uid=uid if chowned else None,
        gid=gid if chowned else None,
        mtime_ns=None if is_timed else plan.mtime_ns,
        xattrs=wanted if wanted != shown or chowned else None,
        removed=tuple(name for name, _ in shown if name not in names) if wanted != shown else (),
    )


def disturbed_by(plans: Sequence[Plan]) -> set[RelPath]:
    """Return the directories whose times change with the names in them, and those that come."""
    plans = [plan for plan in plans if plan.step is not Step.ATTRIBUTES]
    come = {p.path for p in plans if p.step is Step.INSTALL and p.content.kind is Kind.DIRECTORY}
    return come | {parent_of(plan.path) for plan in plans}
