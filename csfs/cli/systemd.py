"""Where systemd runs the host and knows the daemon's unit, systemd starts the daemon."""

import os
import subprocess

from csfs.config.home import Home

UNIT = "csfs-daemon.service"
BOOTED = "/run/systemd/system"
"""Exists where systemd is the init; sd_booted(3)."""
ANSWER_S_MAX = 10.0


def runs_daemon(home: Home) -> bool:
    """Return whether the daemon of this home is systemd's to start: the system's own, and its unit is installed."""
    return home.root is None and os.path.isdir(BOOTED) and _shown("LoadState") == "loaded"


def log_of_daemon(home: Home) -> str:
    """Return where what the daemon says is to be read."""
    return f"journalctl -u {UNIT}" if runs_daemon(home) else str(home.daemon_log)


def start_daemon() -> None:
    """Ask systemd to start the daemon, without waiting for that."""
    _systemctl("reset-failed", UNIT)  # what it came to before says nothing about this attempt
    _systemctl("start", "--no-block", UNIT)


def is_booting() -> bool:
    """Return whether the host is on its way up, or down."""
    return _systemctl("is-system-running") in ("initializing", "starting", "stopping")


def why_daemon_failed() -> str:
    """Return why systemd has given the daemon up, or an empty text."""
    if _shown("ActiveState") != "failed":
        return ""
    return f"{UNIT} failed ({_shown('Result')}); see journalctl -u {UNIT}"


def _shown(property_name: str) -> str:
    return _systemctl("show", "--value", f"--property={property_name}", UNIT)


def _systemctl(*arguments: str) -> str:
    """Return what systemctl prints, empty if there is none that answers."""
    try:
        done = subprocess.run(
            ["systemctl", *arguments], capture_output=True, text=True, timeout=ANSWER_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
