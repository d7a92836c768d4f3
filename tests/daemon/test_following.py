"""A volume that cannot follow the configuration is tried again, in all as often as one is."""

import logging
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.cli.main import run
from csfs.config import home as homes
from csfs.daemon.main import RETRY_S, Daemon
from csfs.errors import UnwritableError

VOLUME = """
[volumes.v]
path = "/nowhere"
"""


async def test_however_often_it_has_failed_one_attempt_follows(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)  # which is put back: a reload sets the level of the whole process
    home = homes.chosen(str(tmp_path))
    assert run(["--home", str(tmp_path), "init", "--member", "alpha", "--listen", "127.0.0.1:1"]) == 0
    with home.settings_file.open("a") as settings:
        settings.write(VOLUME)
    daemon = Daemon(home)
    daemon._nursery = nursery
    home.volume_dir("v").parent.mkdir(parents=True, exist_ok=True)
    home.volume_dir("v").touch()
    nursery.start_soon(daemon._reload_when_wanted)
    for _ in range(5):
        with pytest.raises(UnwritableError):
            await daemon._reload()
        await trio.sleep(RETRY_S / 10)
    caplog.clear()
    await trio.sleep(3 * RETRY_S)
    assert caplog.text.count("does not follow the configuration yet") == 3
