"""A round of looks that fails in the middle: what it was about to look at must not be waited for in vain."""

import contextlib
from collections.abc import Callable, Iterator, MutableMapping, Sequence

import trio

from csfs.core.paths import RelPath
from csfs.errors import UnwritableError
from csfs.replicate.looking import Reason

PASSING = (trio.ClosedResourceError, UnwritableError)
"""Unmounted meanwhile, the disk full: the same looks do better when that is over."""


@contextlib.contextmanager
def looked_again(
    batch: Sequence[tuple[RelPath, Reason]],
    look: Callable[[RelPath, Reason], None],
    since: MutableMapping[RelPath, int],
) -> Iterator[None]:
    """Have a batch looked at again by `look`, if what keeps it from that is going to pass.

    After a bug it is not: whatever is in its way would be so again and again, and keep everything else back. Comparing finds what
    differs, as whoever meets the error sees to, and no row may wait for the rest. `since` is the oldest row for each path, ascending.
    """
    rows = {path: since[path] for path, _ in batch if path in since}
    try:
        yield
    except PASSING:
        for path, reason in batch:
            look(path, reason)
        ascending = sorted({**since, **rows}.items(), key=lambda item: item[1])
        since.clear()
        since.update(ascending)
        raise
    except Exception:
        for path, _ in batch:
            since.pop(path, None)
        raise
