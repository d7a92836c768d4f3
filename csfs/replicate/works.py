"""Plans under way, and staging them."""

from collections.abc import Sequence
from dataclasses import dataclass

from csfs.core.rows import Plan, Step
from csfs.errors import CsfsError
from csfs.replicate.volume import Root
from csfs.store.patching import FromPatches
from csfs.store.stage import FromBytes, Source, Staged

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
    error: OSError | CsfsError | None = None


def is_little(works: Sequence[Work]) -> bool:
    """Return whether building this is a few small writes to memory."""
    return len(works) <= INLINE_BUILDS_MAX and all(
        work.source is None or isinstance(work.source, FromBytes) for work in works
    )


def build(root: Root, works: Sequence[Work]) -> None:
    """Stage everything that is to be installed; for a thread."""
    for work in works:
        if work.plan.step is not Step.INSTALL:
            continue
        plan = work.plan
        assert plan.meta is not None
        try:
            if work.overwrites:
                assert isinstance(work.source, FromPatches)
                assert plan.mtime_ns is not None
                work.built = root.stage.prepare_overwrite(
                    work.staged, work.kept, plan.content, plan.mtime_ns, work.source
                )
            else:
                work.built = root.stage.build(work.staged, plan.content, plan.meta, plan.mtime_ns, work.source)
        except (OSError, CsfsError) as error:
            work.error = error
