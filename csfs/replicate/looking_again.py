"""A round of looks that fails in the middle: what it was about to look at must not be waited for in vain."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import trio

from csfs.core.paths import RelPath
from csfs.errors import UnwritableError
from csfs.replicate.looking import Reason
from csfs.replicate.since import Since

PASSING = (trio.ClosedResourceError, UnwritableError)
"""Unmounted meanwhile, the disk full: the same looks do better when that is over."""


@contextlib.contextmanager
def looked_again(
    batch: Sequence[tuple[RelPath, Reason]],
    look: Callable[[RelPath, Reason], None],
    since: Since,
) -> Iterator[None]:
    """Have a batch looked at again by `look`, if what keeps it from that is going to pass.

    After a bug it is not: whatever is in its way would be so again and again, and keep everything else back. Comparing finds what
    differs, as whoever meets the error sees to, and no row may wait for the rest.
    """
    rows = {path: since.of(path) for path, _ in batch}
    try:
        yield
    except PASSING:
        for path, reason in batch:
            look(path, reason)
            if (sequence := rows[path]) is not None:
                since.note(path, sequence)
        raise
    except Exception:
        for path, _ in batch:
            since.drop(path)
        raise
