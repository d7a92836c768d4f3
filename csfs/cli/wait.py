"""`csfs wait`: returns when peers show what was written before the call."""

import os

import click

from csfs.cli import client
from csfs.config.home import Home

GRACE_S = 10.0
"""The daemon knows when the time is up; only a daemon that hangs is given up by us."""


@click.command("wait")
@click.argument("path", required=False, type=click.Path())
@click.option(
    "--peer", "peers", multiple=True, metavar="MEMBER", help="Wait for this one; every connected one if not given."
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after this long: exit 4."
)
@click.pass_obj
def command(home: Home, path: str | None, peers: tuple[str, ...], timeout_s: float | None) -> None:
    """Wait until peers have applied all that was written before this call, everywhere or below PATH."""
    place = None if path is None else os.fsencode(os.path.abspath(path))
    patience = None if timeout_s is None else timeout_s + GRACE_S
    client.ask(home, "wait", {"path": place, "peers": list(peers), "timeout": timeout_s}, timeout_s=patience)
