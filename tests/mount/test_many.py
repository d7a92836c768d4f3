"""What the kernel knows, on a real mount: remembered as bytes alone, and forgotten when the kernel forgets it."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.core.changes import ChangeKind
from scripts.support.members import until
from tests.mount import test_conformance as conformance
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount

PACKED = "from csfs.mount import nodes; nodes.AWAKE_MAX = 0\n"
"""Whatever nobody holds is packed at once."""


@pytest.fixture
def packing(served_packing: tuple[Mounted, FakeDaemon]) -> Path:
    return served_packing[0].path


@pytest.fixture
def served_packing(volume: Mounted, daemon: FakeDaemon) -> Iterator[tuple[Mounted, FakeDaemon]]:
    """A volume whose mount process packs all that it can."""
    volume.prelude = PACKED
    volume.start()
    daemon.wait_connected()
    daemon.prepare()
    daemon.flushed()
    yield volume, daemon
    volume.stop(lazy=True)
    assert "unexpected error" not in volume.log


def known(volume: Mounted) -> int:
    """Return how many inodes the mount says that the kernel knows."""
    before = volume.log.count("inodes known")
    os.kill(volume.pids()[1], signal.SIGUSR1)
    until(lambda: volume.log.count("inodes known") > before, "the mount tells how many inodes are known")
    return int(re.findall(r"(\d+) inodes known", volume.log)[-1])


def test_what_the_kernel_forgets_is_forgotten(served: tuple[Mounted, FakeDaemon]) -> None:
    volume, _ = served
    before = known(volume)
    for number in range(100):
        (volume.path / f"{number}").touch()
    assert known(volume) >= before + 100
    descriptors = Path(f"/proc/{volume.pids()[1]}/fd")
    open_before = len(list(descriptors.iterdir()))
    for number in range(100):
        (volume.path / f"{number}").unlink()
    until(lambda: known(volume) <= before, "what was removed is forgotten")
    assert len(list(descriptors.iterdir())) <= open_before


@pytest.mark.parametrize(
    "check",
    [
        conformance.test_hard_links_are_one_object,
        conformance.test_an_unlinked_directory_that_a_program_is_in_can_still_be_described,
        conformance.test_a_replaced_file_stays_readable_through_what_was_opened_before,
        conformance.test_rename_flags_are_kept,
        conformance.test_renames_of_directories_take_what_is_in_them_along,
        conformance.test_a_listing_stays_right_while_its_entries_go,
        conformance.test_paths_deeper_than_the_kernel_takes_at_once_work,
        conformance.test_many_threads_at_once_get_right_answers,
    ],
)
def test_what_is_packed_behaves_as_ever(packing: Path, check: Callable[[Path], None]) -> None:
    check(packing)
    assert packing.is_mount()


def test_rows_name_what_was_packed_where_it_is_now(served_packing: tuple[Mounted, FakeDaemon]) -> None:
    volume, daemon = served_packing
    (volume.path / "a" / "b").mkdir(parents=True)
    (volume.path / "a" / "b" / "file").touch()
    os.link(volume.path / "a" / "b" / "file", volume.path / "other")
    with open(volume.path / "a" / "b" / "file", "w") as file:
        (volume.path / "a").rename(volume.path / "c")
        (volume.path / "other").unlink()
        for name in ("x", "y", "z"):
            (volume.path / name).mkdir()
        daemon.flushed()
        file.write("x")
    os.chmod(volume.path / "c" / "b", 0o700)
    told = [(row.kind, row.path) for row in daemon.flushed()]
    assert told == [(ChangeKind.CONTENT, b"c/b/file"), (ChangeKind.META, b"c/b")]
