"""`csfs mount`: serves a volume's directory, over that directory."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from csfs.cli import client, mounting, starting, underneath
from csfs.config import home as homes
from csfs.config.home import Home
from csfs.errors import ConfigError, CsfsError, NotRunningError
from csfs.mount import notify, parent, remounting
from csfs.mount import options as mount_options

KNOWN_S_MAX = 5.0
KNOWN_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class How:
    """How to go about it: what mount(8) may ask of its helpers beside the options."""

    foreground: bool = False
    sloppy: bool = False
    """Pass over options that there are not."""
    fake: bool = False
    """Check everything, and mount nothing."""
    content: bool = False
    """What is mounted already needs no mounting."""
    volume: str = ""
    """The name that the volume must have, if not empty."""
    anyway: bool = False
    """A host that boots needs the mount even if the daemon does not start: what changes meanwhile is sent later."""


@click.command("mount")
@click.argument("path", type=click.Path())
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help="Mount options, separated by commas.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground.")
@click.option("--sloppy", is_flag=True, hidden=True)
@click.option("--fake", is_flag=True, hidden=True)
@click.option("--content", is_flag=True, hidden=True)
@click.option("--volume", default="", hidden=True)
@click.option("--anyway", is_flag=True, hidden=True)
@click.pass_obj
def command(home: Home, /, path: str, options: tuple[str, ...], **how: Any) -> None:
    """Mount the volume whose directory is PATH; return when it serves. Starts the daemon if none is running."""
    mount(home, path, options, How(**how))


def mount(home: Home, path: str, texts: tuple[str, ...], how: How) -> None:
    """Mount the volume at `path`, or change the options of what is mounted there.

    Raises:
        CsfsError: it cannot be mounted; nothing is left behind.
    """
    asked = mount_options.parsed(texts, sloppy=how.sloppy or "remount" in ",".join(texts).split(","))
    if asked.remount:
        remounting.remount(path, texts, sloppy=how.sloppy, dry=how.fake)
        return
    home = homes.chosen(asked.home) if asked.home else home
    settings = mounting.mount_settings(home, path)
    if how.volume not in ("", settings.volume):
        raise ConfigError(f"{path} is the directory of volume {settings.volume}, not of {how.volume}")
    if how.content and mounting.is_mounted(settings):
        click.echo(f"csfs: {settings.path} is mounted already", err=True)
        return
    mounting.refuse_own_keys(home, settings)
    parent.check(settings, asked)  # before a daemon is started for it
    if how.fake:
        return
    # A service of systemd has the daemon's as another one beside it.
    started = False if how.foreground and notify.is_wanted() else _start_daemon(home, how.anyway)
    try:
        parent.start(
            settings,
            settings.volume,
            load_rules=partial(mounting.current_rules, home, settings.volume),
            foreground=how.foreground,
            options=asked,
        )
    except BaseException:
        if started:
            starting.end_daemon(home)
        raise
    if not how.foreground:
        _wait_known(home, settings.path)


def _start_daemon(home: Home, anyway: bool) -> bool:
    """Make sure that a daemon runs; return whether it is one that we started."""
    try:
        return starting.ensure_daemon(home)
    except NotRunningError as error:
        if not anyway:
            raise
        click.echo(f"csfs: nothing is sent to other members yet: {error}", err=True)
        return False


def _wait_known(home: Home, path: str) -> None:
    """Return when the daemon holds the mount, so that a `csfs wait` that follows waits for it; the mount serves anyway."""
    deadline = time.monotonic() + KNOWN_S_MAX
    while time.monotonic() < deadline:
        try:
            volume = client.ask(home, "status", {"path": path}, timeout_s=KNOWN_S_MAX)["volumes"][0]
        except CsfsError:
            return  # a daemon that is being stopped; it takes the mount over when it is back
        if volume["state"] == "stopped":
            click.echo(f"csfs: nothing is sent to other members: {volume['reason']}", err=True)
            return
        if volume["mounted"]:
            for line in underneath.passing(volume["underneath"]):
                click.echo(f"csfs: {line}", err=True)
            return
        time.sleep(KNOWN_POLL_S)
