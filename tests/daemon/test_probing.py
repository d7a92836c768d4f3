"""What is asked of the host about a mount, whatever its path is called."""

import os
from pathlib import Path

import pytest

from csfs.daemon import probing
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("name", ["plain", "a b\tc\\d", "carriage\rreturn"])
def test_a_mount_is_found_by_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    volume = Mounted(tmp_path / name)
    try:
        assert not probing.is_mounted(os.fsencode(volume.path))
        volume.start()
        assert probing.is_mounted(os.fsencode(volume.path))
        volume.stop()
        assert not probing.is_mounted(os.fsencode(volume.path))
    finally:
        volume.clear_away()
