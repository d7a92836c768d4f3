"""An index over starts and boots: what peers may count on, and what they may not."""

from pathlib import Path

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
