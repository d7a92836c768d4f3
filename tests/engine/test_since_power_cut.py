"""What rows of this boot, and what was recorded in it, say of what a power cut may have left (R24)."""

import pytest

from csfs.core.changes import ChangeKind
from csfs.core.paths import RelPath
from csfs.engine.evidence import Evidence
from csfs.engine.whereabouts import There
from tests.engine.members import found, sides
from tests.engine.test_power_cut import BOOTED_NS, NEW, D, F, G, change, is_damage, rename, synced


def test_what_is_synced_in_this_boot_without_being_written_to_is_what_was_left() -> None:
    assert is_damage(NEW, change(ChangeKind.CONTENT, F), synced(F, NEW, BOOTED_NS))
    assert not is_damage(NEW, synced(F, NEW), synced(F, NEW, BOOTED_NS)), "it was synced before, too"
    now = found(b"newer", mtime_ns=BOOTED_NS)
    assert not is_damage(now, synced(F, now, BOOTED_NS)), "it was written to"


@pytest.mark.parametrize(("path", "moved", "there"), [(F, F, b"g"), (RelPath(b"d/f"), D, b"g/f")])
def test_rows_from_before_something_was_recorded_say_nothing_of_it(path: RelPath, moved: RelPath, there: bytes) -> None:
    now = {"time_ns": BOOTED_NS}
    (alpha,) = sides("alpha")
    alpha.sees(b"f", found(b"old"))
    evidence = Evidence(BOOTED_NS)
    evidence.take(rename(moved, G))

    def there_at(one: RelPath) -> There:
        return There(int(one == there))

    saved = found(b"saved", inode=2, mtime_ns=BOOTED_NS)
    evidence.take(change(ChangeKind.CREATE, path, **now))
    assert not evidence.is_lost(path, alpha.row(b"f"), saved, there_at)
    alpha.sees(b"f", saved)
    evidence.recorded(path)
    again = found(b"again", inode=3, mtime_ns=BOOTED_NS)
    assert not evidence.is_lost(path, alpha.row(b"f"), again, there_at), "it took the place of what was saved before"
    assert evidence.is_damage(path, alpha.row(b"f"), None, None, there_at), "nobody says that it went"
    evidence.take(change(ChangeKind.REMOVE, path, **now))
    assert not evidence.is_damage(path, alpha.row(b"f"), None, None, there_at)
