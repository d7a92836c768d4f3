"""What is refused before anything is mounted: other names of the same files, and SELinux."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.errors import ConfigError, NotPermittedError
from csfs.mount import checks
from csfs.mount.options import NO_OPTIONS, parsed
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Path]:
    """A place for a bind mount, which is unmounted at the end."""
    place = tmp_path / "bound"
    place.mkdir()
    yield place
    subprocess.run(["umount", str(place)], check=False, capture_output=True)


def another(base: Path, path: Path) -> Mounted:
    """Return a second volume, not mounted yet, whose directory is `path`."""
    (base / "another").mkdir()
    volume = Mounted(base / "another")
    volume.path = path
    volume.settings = volume.settings_with(path=str(path), volume="w")
    return volume


def refused(volume: Mounted) -> str:
    """Return why a volume is refused; it is not mounted."""
    try:
        return volume.command("start")
    finally:
        os.close(volume.underneath)


@pytest.mark.parametrize("inner", ["", "d"], ids=["the same", "below"])
def test_a_bind_mount_of_a_volumes_files_is_no_other_volume(volume: Mounted, bound: Path, inner: str) -> None:
    (volume.path / "d").mkdir()
    subprocess.run(["mount", "--bind", volume.path / inner, bound], check=True)  # shows what is underneath
    volume.start()
    answer = refused(another(volume.base, bound))
    assert f"{bound} and the csfs volume {volume.path} have the same files" in answer
    volume.stop()


def test_a_volume_whose_files_another_one_has_by_a_bind_mount_is_refused(volume: Mounted, bound: Path) -> None:
    outer = volume.base / "outer"
    (outer / "d").mkdir(parents=True)
    subprocess.run(["mount", "--bind", outer / "d", bound], check=True)
    volume.settings = volume.settings_with(path=str(bound))
    path, volume.path = volume.path, bound
    volume.start()
    assert "have the same files" in refused(another(volume.base, outer))
    volume.stop()
    volume.path = path


def test_a_bind_mount_of_a_mounted_volume_is_no_other_volume(mounted: Mounted, bound: Path) -> None:
    (mounted.path / "d").mkdir()
    subprocess.run(["mount", "--bind", mounted.path / "d", bound], check=True)
    assert f"{bound} is mounted by csfs already (csfs:v)" in refused(another(mounted.base, bound))


def test_a_symlink_into_a_volume_leads_into_it(mounted: Mounted) -> None:
    (mounted.path / "d").mkdir()
    link = mounted.base / "link"
    link.symlink_to(mounted.path / "d")
    assert f"lies inside another csfs volume, {mounted.path}" in refused(another(mounted.base, link))


def test_a_volume_around_another_one_is_refused(volume: Mounted) -> None:
    (volume.path / "d").mkdir()
    inner = another(volume.base, volume.path / "d")
    inner.start()
    assert f"another csfs volume, {inner.path}, is mounted inside {volume.path}" in volume.command("start")
    inner.stop()
    os.close(inner.underneath)


def test_volumes_side_by_side_know_nothing_of_each_other(mounted: Mounted) -> None:
    beside = another(mounted.base, mounted.base / "volume2")
    beside.path.mkdir()
    beside.start()
    (beside.path / "file").write_text("x")
    assert os.listdir(mounted.path) == []
    beside.stop()
    os.close(beside.underneath)


@pytest.mark.skipif(shutil.which("bindfs") is None, reason="needs bindfs, another FUSE file system")
def test_a_directory_of_another_fuse_file_system_can_be_a_volume(volume: Mounted) -> None:
    source = volume.base / "source"
    source.mkdir()
    (source / "before").write_text("x")
    subprocess.run(["bindfs", str(source), str(volume.path)], check=True)
    try:
        volume.start()
        (volume.path / "d").mkdir()
        (volume.path / "d/after").write_text("y")
        os.rename(volume.path / "d/after", volume.path / "before")
        assert (source / "before").read_text() == (volume.path / "before").read_text() == "y"
        volume.stop()
        assert os.path.ismount(volume.path)
    finally:
        subprocess.run(["umount", str(volume.path)], check=True)


def test_where_selinux_enforces_a_label_has_to_be_chosen(volume: Mounted, tmp_path: Path) -> None:
    enforce = tmp_path / "enforce"
    enforce.write_text("1")
    with pytest.raises(ConfigError, match=r'SELinux is enforcing.* fusefs_t.* -o context="[^"]+:s0"'):
        checks.check(volume.settings, NO_OPTIONS, str(enforce))
    checks.check(volume.settings, parsed(["context=system_u:object_r:httpd_sys_content_t:s0"]), str(enforce))
    enforce.write_text("0")
    checks.check(volume.settings, NO_OPTIONS, str(enforce))


def test_only_root_can_mount(volume: Mounted) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(NotPermittedError, match="only root can mount a volume"):
            checks.check(volume.settings, NO_OPTIONS)
    finally:
        os.seteuid(0)
