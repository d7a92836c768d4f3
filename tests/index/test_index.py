"""An index over starts and boots: what peers may count on, and what they may not."""

from pathlib import Path

import pytest

from csfs.core.paths import RelPath
from csfs.errors import UnwritableError
from csfs.index.index import Index


def opened(directory: Path, boot: bytes) -> tuple[bytes, int]:
    """Start once, and return the index's id and this member's incarnation."""
    index = Index(str(directory / "index.db"), member="alpha", boot=boot, founding=True)
    found = index.ledger.index_id, int(index.incarnation)
    index.close()
    return found


def test_a_restart_on_the_same_boot_goes_on_as_the_same_incarnation_of_the_same_index(tmp_path: Path) -> None:
    assert opened(tmp_path, b"one") == opened(tmp_path, b"one")


def test_a_new_boot_is_a_new_incarnation_and_no_cursor_counts_on_positions_that_were_lost(tmp_path: Path) -> None:
    before, after = opened(tmp_path, b"one"), opened(tmp_path, b"two")
    assert before[0] != after[0]
    assert before[1] != after[1]


def full(index: Index) -> None:
    """Let the file grow no further, which SQLite reports as it does a full disk."""
    connection = index._database.connection
    connection.pragma("max_page_count", connection.pragma("page_count"))


def with_room(index: Index) -> None:
    index._database.connection.pragma("max_page_count", 1 << 30)


def test_what_a_full_disk_refuses_has_not_happened_and_happens_once_there_is_room(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    full(index)
    paths = [RelPath(b"%d" % number * 50) for number in range(5_000)]
    with pytest.raises(UnwritableError, match="room on its disk"), index.transaction():
        index.ledger.hold(paths)
    assert index.ledger.held() == []
    assert index.trouble
    with_room(index)
    with index.transaction():
        index.ledger.hold(paths)
    assert len(index.ledger.held()) == len(paths)
    assert not index.trouble
    index.close()


def test_after_a_checkpoint_the_log_is_begun_anew(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    number = 0
    while not index.wants_checkpoint:
        number += 1
        with index.transaction():
            index.ledger.hold([RelPath(b"%d %d" % (number, path) * 50) for path in range(500)])
    pages = index._database.wal_pages
    index.checkpoint()
    with index.transaction():
        index.ledger.hold([RelPath(b"one more")])
    assert index._database.wal_pages < pages // 10
    index.close()
