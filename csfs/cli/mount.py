"""`csfs mount`: serves a volume's directory, over that directory."""

import time
from functools import partial

import click

from csfs.cli import client, mounting, starting
from csfs.config.home import Home
from csfs.errors import CsfsError
from csfs.mount import parent

KNOWN_S_MAX = 5.0
KNOWN_POLL_S = 0.01
OTHERS_OPTIONS = frozenset({"_netdev", "auto", "noauto", "nofail", "user", "nouser", "users", "defaults", "rw"})
"""Options of fstab that mount(8) and systemd act on."""


@click.command("mount")
@click.argument("path", type=click.Path())
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help="Mount options, separated by commas.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground.")
@click.pass_obj
def command(home: Home, path: str, options: tuple[str, ...], foreground: bool) -> None:
    """Mount the volume whose directory is PATH; return when it serves. Starts the daemon if none is running."""
    mount(home, path, options, foreground)


def mount(home: Home, path: str, options: tuple[str, ...], foreground: bool) -> None:
    """Mount the volume at `path`.

    Raises:
        CsfsError: it cannot be mounted; nothing is left behind.
    """
    settings = mounting.mount_settings(home, path)
    parent.check(settings)  # before a daemon is started for it
    starting.ensure_daemon(home)
    parent.start(
        settings,
        settings.volume,
        load_rules=partial(mounting.current_rules, home, settings.volume),
        foreground=foreground,
        options=ours(options),
    )
    if not foreground:
        _wait_known(home, settings.path)


def _wait_known(home: Home, path: str) -> None:
    """Return when the daemon holds the mount, so that a `csfs wait` that follows waits for it; the mount serves anyway."""
    deadline = time.monotonic() + KNOWN_S_MAX
    while time.monotonic() < deadline:
        try:
            if client.ask(home, "status", {"path": path}, timeout_s=KNOWN_S_MAX)["volumes"][0]["mounted"]:
                return
        except CsfsError:
            return  # a daemon that is being stopped; it takes the mount over when it is back
        time.sleep(KNOWN_POLL_S)


def ours(options: tuple[str, ...]) -> list[str]:
    """Return the options that the file system is to know: one a text, without those that are for others."""
    single = [option for text in options for option in text.split(",") if option]
    return [option for option in single if option not in OTHERS_OPTIONS and not option.startswith("x-")]
