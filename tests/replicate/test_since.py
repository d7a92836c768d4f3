"""Which row is the oldest that wants a path looked at."""

from csfs.core.paths import RelPath
from csfs.replicate.since import Since

A, B = RelPath(b"a"), RelPath(b"b")


def test_the_oldest_row_is_that_of_a_path_that_is_still_wanted_in_whatever_order_rows_were_told() -> None:
    since = Since()
    assert since.oldest is None
    since.note(A, 5)
    since.note(B, 3)
    since.note(A, 7)
    assert (since.of(A), since.oldest) == (5, 3)
    since.drop(B)
    assert since.oldest == 5
    since.note(A, 2)
    assert since.oldest == 2
    since.drop(A)
    since.note(A, 9)
    assert since.oldest == 9
    since.clear()
    assert (since.oldest, since.of(A)) == (None, None)
