"""The units of systemd: whole, and in order; `scripts/boot` runs them."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from csfs.errors import ExitCode
from csfs.mount import parent

UNITS = Path(__file__).parent.parent.parent / "etc/systemd"


def read(name: str) -> configparser.ConfigParser:
    """Return a unit; a key that comes more than once keeps its last value."""
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS / name)
    return unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_has_nothing_to_complain_of(tmp_path: Path) -> None:
    csfs = Path(sys.executable).with_name("csfs")
    for unit in UNITS.iterdir():
        name = unit.name.replace("@", "@etc")
        (tmp_path / name).write_text(unit.read_text().replace("/usr/bin/csfs", str(csfs)))
    names = [str(unit) for unit in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "csfs" in line]
    assert ours == []


def test_a_unit_waits_longer_than_csfs_does() -> None:
    mount = read("csfs-mount@.service")["Service"]
    assert float(mount["TimeoutStopSec"]) > parent.END_S_MAX


def test_what_trying_again_cannot_mend_is_not_tried_again() -> None:
    wanted = {str(int(code)) for code in (ExitCode.USAGE, ExitCode.REFUSED, ExitCode.NOT_PERMITTED)}
    for name in ("csfs-daemon.service", "csfs-mount@.service"):
        assert wanted <= set(read(name)["Service"]["RestartPreventExitStatus"].split())


def test_a_mount_lies_between_early_boot_and_ordinary_services() -> None:
    unit = read("csfs-mount@.service")["Unit"]
    assert unit["DefaultDependencies"] == "no"
    assert "basic.target" in unit["Before"]
    assert "shutdown.target" in unit["Before"]
    assert unit["Conflicts"] == "shutdown.target"
    assert "csfs-daemon" not in unit["After"] + unit.get("Requires", "")
