"""`csfs log`: the changes as they happen, ours and the peers'."""

import pwd
import sys
from typing import Any

import click

from csfs.cli import arguments, client, output
from csfs.config.home import Home

LIMIT = 100
WAIT_S = 30.0
"""How long the daemon is asked to wait for the next change; then it is asked again."""


@click.command("log")
@click.argument("path", required=False, type=click.Path())
@click.option("--follow", "-f", is_flag=True, help="Go on with what changes from now on, until interrupted.")
@click.option(
    "--limit", type=click.IntRange(min=1, max=10_000), default=LIMIT, show_default=True, help="Begin with so many."
)
@click.option("--json", "machine", is_flag=True, help="For programs: an object on each line.")
@click.pass_obj
def command(home: Home, path: str | None, follow: bool, limit: int, machine: bool) -> None:
    """Show what changed lately, everywhere or at and below PATH, since the daemon was started: when, at which member, by whom."""
    place = None if path is None else arguments.place_of(path)
    request: dict[str, Any] = {"path": place, "limit": limit}
    changes = client.ask(home, "log", request)["changes"]
    last = show(changes, machine, 0)
    while follow:
        request = {"path": place, "after": last, "wait_s": WAIT_S}
        last = show(client.ask(home, "log", request, timeout_s=2 * WAIT_S)["changes"], machine, last)


def show(changes: list[dict[str, Any]], machine: bool, last: int) -> int:
    """Print changes; return the number of the last one."""
    for change in changes:
        if machine:
            output.as_json(change)
        else:
            click.echo(said(change))
    sys.stdout.flush()
    return changes[-1]["number"] if changes else last


def said(change: dict[str, Any]) -> str:
    """Return one change as a line."""
    by = f" by {change['program']} ({user_of(change['uid'])})" if change["program"] else ""
    return f"{output.moment(int(change['time'] * 1e9))}  {change['member']}{by}  {change['what']}  {change['path']}"


def user_of(uid: int) -> str:
    """Return the name that this host has for a user, the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
