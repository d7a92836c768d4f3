"""What is mounted below a volume is left alone, whatever kind of mount it is, and reported."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import Member, cluster_of, free_port
from tests.cluster.conftest import expect_calm_logs

Pair = tuple[Member, Member]
MOUNTED = ("tmpfs", "outside", "inside", "file")


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory and a file on the volume's file system, but not in the volume."""
    path = tmp_path_factory.mktemp("outside")
    (path / "directory").mkdir()
    (path / "directory" / "f").write_text("outside")
    (path / "file").write_text("outside")
    return path


@pytest.fixture(scope="module")
def mixed(outside: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two members, of which the first has other mounts below its volume: whole file systems, directories and files."""
    base = tmp_path_factory.mktemp("members") / "m"
    alpha, beta = (Member(base, name, free_port()) for name in ("alpha", "beta"))
    tree = alpha.tree
    for name in ("tmpfs", "outside", "inside", "original"):
        (tree / name).mkdir(parents=True)
        (tree / name / "f").write_text("covered")
    (tree / "file").write_text("covered")
    for what in (
        ["-t", "tmpfs", "-o", "nosuid,nodev,noexec", "tmpfs", tree / "tmpfs"],
        ["--bind", outside / "directory", tree / "outside"],
        ["--bind", tree / "original", tree / "inside"],
        ["--bind", outside / "file", tree / "file"],
    ):
        subprocess.run(["mount", *what], check=True)
    try:
        with cluster_of(alpha, beta):
            yield alpha, beta
            expect_calm_logs(alpha, beta)
    finally:
        for name in MOUNTED:
            subprocess.run(["umount", "-l", tree / name], check=True)


def test_other_mounts_are_reported_and_not_followed(mixed: Pair) -> None:
    alpha, beta = mixed
    problems = {problem["path"]: problem["reason"] for problem in alpha.volume()["problems"]}
    assert set(problems) == set(MOUNTED)
    assert all("another file system is mounted there" in reason for reason in problems.values())
    told = alpha.csfs("status", check=False).stdout
    assert all(f"files: {name}: " in told for name in MOUNTED)
    assert os.listdir(beta.tree) == ["original"]


def test_what_is_written_to_other_mounts_goes_there_and_nowhere_else(mixed: Pair, outside: Path) -> None:
    alpha, beta = mixed
    (alpha.tree / "tmpfs" / "new").write_text("x")
    (alpha.tree / "outside" / "f").write_text("written")
    (alpha.tree / "outside" / "new").mkdir()
    (alpha.tree / "outside" / "new").rename(alpha.tree / "outside" / "newer")
    (alpha.tree / "file").write_text("written")
    (alpha.tree / "file").chmod(0o600)
    alpha.wait()
    assert os.listdir(beta.tree) == ["original"]
    assert (outside / "directory" / "f").read_text() == "written"
    assert (outside / "directory" / "newer").is_dir()
    assert (outside / "file").read_text() == "written"
    assert (outside / "file").stat().st_mode & 0o777 == 0o600


def test_what_changes_outside_is_seen_at_once(mixed: Pair, outside: Path) -> None:
    alpha, _ = mixed
    for text in ("one", "three", "seven"):
        (outside / "directory" / "f").write_text(text)
        (outside / "directory" / text).touch()
        (outside / "file").write_text(text)
        assert (alpha.tree / "outside" / "f").read_text() == text
        assert (alpha.tree / "outside" / text).exists()
        assert (alpha.tree / "file").read_text() == text
        (outside / "directory" / text).unlink()
        assert not (alpha.tree / "outside" / text).exists()


def test_a_directory_that_is_also_bound_elsewhere_in_the_volume_is_followed(mixed: Pair) -> None:
    alpha, beta = mixed
    assert (alpha.tree / "inside" / "f").read_text() == "covered"  # the kernel knows it by the other name, too
    (alpha.tree / "original" / "f").write_text("written")
    (alpha.tree / "original" / "new").mkdir()
    alpha.wait()
    assert (beta.tree / "original" / "f").read_text() == "written"
    assert os.listdir(beta.tree / "original") in (["f", "new"], ["new", "f"])
    assert (alpha.tree / "inside" / "f").read_text() == "written"


def test_other_mounts_cannot_be_moved_or_removed(mixed: Pair) -> None:
    alpha, _ = mixed
    for name in MOUNTED:
        with pytest.raises(OSError, match="busy"):
            (alpha.tree / name).rename(alpha.tree / "moved")
    with pytest.raises(OSError, match="busy"):
        (alpha.tree / "tmpfs").rmdir()
    with pytest.raises(OSError, match="cross-device"):
        (alpha.tree / "outside" / "f").rename(alpha.tree / "f")
    with pytest.raises(OSError, match="cross-device"):
        os.link(alpha.tree / "inside" / "f", alpha.tree / "linked")
    assert (alpha.tree / "outside" / "f").exists()


def test_what_the_options_of_another_mount_forbid_is_not_possible_through_csfs(mixed: Pair) -> None:
    alpha, _ = mixed
    program, device = alpha.tree / "tmpfs" / "program", alpha.tree / "tmpfs" / "device"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o6755)
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    device.chmod(0o666)
    assert stat.S_IMODE(program.stat().st_mode) == 0o644
    assert stat.S_IMODE(device.stat().st_mode) == 0
    shown = {entry.name: entry.stat().st_mode for entry in os.scandir(alpha.tree / "tmpfs")}
    assert shown["program"] == program.stat().st_mode
    with pytest.raises(PermissionError):
        subprocess.run([program], check=False)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["cat", device], user=65534, check=True, capture_output=True)


def test_without_such_options_modes_are_shown_as_they_are(mixed: Pair, outside: Path) -> None:
    alpha, _ = mixed
    program = outside / "directory" / "program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o6755)
    through = alpha.tree / "outside" / "program"
    assert stat.S_IMODE(through.stat().st_mode) == 0o6755
    assert subprocess.run([through], check=False).returncode == 0
    program.unlink()
