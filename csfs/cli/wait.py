"""`csfs wait`: returns when peers show what was written before the call."""

import os
import shutil
import sys
from typing import Any

import click

from csfs.cli import arguments, client, status
from csfs.config.home import Home

GRACE_S = 10.0
"""The daemon knows when the time is up; only a daemon that hangs is given up by us."""


@click.command("wait")
@click.argument("path", required=False, type=click.Path())
@click.option(
    "--peer", "peers", multiple=True, metavar="MEMBER", help="Wait for this one; every connected one if not given."
)
@click.option(
    "--timeout", "timeout_s", type=arguments.Seconds(), metavar="SECONDS", help="Give up after this long: exit 4."
)
@click.pass_obj
def command(home: Home, path: str | None, peers: tuple[str, ...], timeout_s: float | None) -> None:
    """Wait until peers have applied all that was written before this call, everywhere or below PATH."""
    place = None if path is None else os.fsencode(os.path.abspath(path))
    patience = None if timeout_s is None else timeout_s + GRACE_S
    show = _progress if sys.stderr.isatty() else None
    asked = {"path": place, "peers": list(peers), "timeout": timeout_s}
    try:
        value = client.ask(home, "wait", asked, timeout_s=patience, show=show)
    finally:
        if show is not None:
            click.echo("\r\033[K", nl=False, err=True)
    if value["unmounted"]:
        click.echo(f"csfs: not mounted, and not waited for: {', '.join(value['unmounted'])}", err=True)
    if value["away"]:
        click.echo(f"csfs: not connected, and not waited for: {', '.join(value['away'])}", err=True)


def _progress(value: dict[str, Any]) -> None:
    line = "; ".join(status.progress_lines(value))
    click.echo(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}", nl=False, err=True)
