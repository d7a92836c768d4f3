"""`csfs verify`: compares what the disks of members show, bytes included."""

import sys
from typing import Any

import click

from csfs.cli import arguments, client, completing, output
from csfs.config.home import Home
from csfs.errors import ExitCode


@click.command("verify")
@click.argument("path", required=False, type=click.Path())
@click.option("--peer", metavar="MEMBER", shell_complete=completing.members, help="Compare with this member alone.")
@click.option("--repair", is_flag=True, help="Mend what is wrong on this host; what that replaces is kept.")
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def command(home: Home, path: str | None, peer: str | None, repair: bool, machine: bool) -> int:
    """Read everything at or below PATH, here and at the connected members, and compare it. Exit code 1: something differs.

    Without PATH, all volumes. A disk that returns other bytes than were written is found like this, and not otherwise.
    """
    asked = {"path": arguments.place_of(path) if path is not None else None, "peer": peer, "repair": repair}
    show = _progress if sys.stderr.isatty() and not machine else None
    value = client.ask(home, "verify", asked, timeout_s=None, show=show)
    if show is not None:
        click.echo("\r\033[K", nl=False, err=True)
    if machine:
        output.as_json(value)
    else:
        _show(value)
    return ExitCode.FOUND if is_left(value) else ExitCode.DONE


def is_left(value: dict[str, Any]) -> bool:
    """Return whether something differs that was not mended."""
    return any(not one["repaired"] for peer in _peers(value) for one in peer["differences"])


def _peers(value: dict[str, Any]) -> list[dict[str, Any]]:
    return [peer for volume in value["volumes"] for peer in volume["peers"]]


def _progress(value: dict[str, Any]) -> None:
    click.echo(
        f"\r\033[K{value['volume']}: {output.counted(value['paths'], 'path')} compared with {value['peer']}",
        nl=False,
        err=True,
    )


def _show(value: dict[str, Any]) -> None:
    for peer in _peers(value):
        for one in peer["differences"]:
            mended = "; mended" if one["repaired"] else ""
            click.echo(f"{one['path']}: {one['what']} ({peer['peer']}){mended}")
    for volume in value["volumes"]:
        for peer in volume["peers"]:
            count = len(peer["differences"])
            click.echo(
                f"{volume['volume']}: {output.counted(peer['paths'], 'path')} compared with {peer['peer']}, "
                f"{count or 'none'} different"
            )
    if any("there" in one["what"] for peer in _peers(value) for one in peer["differences"] if not one["repaired"]):
        click.echo("what is wrong there is mended by csfs verify --repair on that host")
