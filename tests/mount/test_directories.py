"""Directories that are large, or change while they are listed; numbers that stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount
MANY = 100_000


def test_a_hundred_thousand_entries_are_listed_found_and_removed(volume: Mounted) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", volume.path], check=True)  # made sooner than on a disk
    many = volume.path / "many"
    many.mkdir()
    under = os.open(many, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names = {f"{number:06}" for number in range(MANY)}
        for name in names:
            os.mknod(name, dir_fd=under)
        volume.start()
        listed = os.listdir(many)
        assert len(listed) == len(names)
        assert set(listed) == names
        with os.scandir(many) as entries:
            numbers = {entry.name: entry.inode() for entry in entries}
        for name in ("000000", "077777", "099999"):
            assert (many / name).stat().st_ino == os.stat(name, dir_fd=under).st_ino == numbers[name]
        (many / "050000").unlink()
        (many / "new").touch()
        assert sorted(os.listdir(under))[-1] == "new"
        assert not (many / "050000").exists()
        volume.stop()
    finally:
        os.close(under)
        subprocess.run(["umount", "-l", volume.path], check=True)


def test_a_listing_has_once_what_is_there_all_the_time_while_others_come_and_go(mounted: Mounted) -> None:
    lasting = {f"lasting-{number:03}-{'x' * 60}" for number in range(400)}
    for name in lasting:
        (mounted.path / name).touch()
    script = """if True:
        import itertools, os, sys
        for number in itertools.count():
            for name in (f"passing-{number}", f"{number}-passing"):
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
            os.rename(f"passing-{number}", f"moved-{number % 50}")
            if number > 30:
                os.unlink(f"{number - 30}-passing")
            if number == 40:
                print(flush=True)
    """
    other = subprocess.Popen([sys.executable, "-c", script], cwd=mounted.path, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        for _ in range(30):
            listed = os.listdir(mounted.path)
            assert len(listed) == len(set(listed))
            assert lasting <= set(listed)
    finally:
        other.kill()
        other.communicate()
    assert other.returncode == -9  # it had not failed before


def test_a_directory_that_is_read_on_after_a_rewind_shows_what_is_new(mounted: Mounted) -> None:
    (mounted.path / "a").touch()
    descriptor = os.open(mounted.path, os.O_RDONLY | os.O_DIRECTORY)
    assert os.listdir(descriptor) == ["a"]
    (mounted.path / "b").touch()
    (mounted.path / "a").unlink()
    assert os.listdir(descriptor) == ["b"]
    os.close(descriptor)


def test_numbers_and_link_counts_are_those_underneath_and_stay_over_a_mount(mounted: Mounted) -> None:
    (mounted.path / "d" / "below").mkdir(parents=True)
    (mounted.path / "f").touch()
    os.link(mounted.path / "f", mounted.path / "g")
    (mounted.path / "s").symlink_to("f")

    def seen() -> dict[str, tuple[int, int]]:
        found = {}
        for name in ("d", "d/below", "f", "g", "s"):
            status = os.lstat(mounted.path / name)
            found[name] = status.st_ino, status.st_nlink
        return found

    before = seen()
    for name, numbers in before.items():
        under = os.stat(name, dir_fd=mounted.underneath, follow_symlinks=False)
        assert (under.st_ino, under.st_nlink) == numbers
    mounted.stop()
    assert seen() == before
    mounted.start()
    assert seen() == before


def test_a_path_as_deep_as_the_kernel_takes_works_by_name(mounted: Mounted) -> None:
    directory = Path("/".join(["d" * 250] * ((4095 - len(str(mounted.path)) - 10) // 251)))
    (mounted.path / directory).mkdir(parents=True)
    (mounted.path / directory / "file").write_text("deep")
    (mounted.path / directory / "file").rename(mounted.path / "moved")
    assert (mounted.path / "moved").read_text() == "deep"
    subprocess.run(["rm", "-r", mounted.path / directory.parts[0]], check=True)
    assert os.listdir(mounted.path) == ["moved"]
