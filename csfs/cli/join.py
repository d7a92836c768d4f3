"""`csfs join`: makes this host a member of the cluster that invited it."""

from functools import partial

import click
import trio

from csfs.cli import arguments, founding, starting
from csfs.config import files, reader
from csfs.config.addresses import Address
from csfs.config.home import Home
from csfs.config.settings import HostSettings, Settings
from csfs.replicate import join
from csfs.trust.certificates import MEMBER_CERTIFICATE


@click.command("join")
@click.argument("inviter", type=arguments.address, metavar="ADDR:PORT")
@click.argument("token")
@founding.listen_option
@founding.address_option
@click.option(
    "--path",
    "places",
    multiple=True,
    type=arguments.place,
    metavar="NAME=PATH",
    help="Where a volume is on this host. Repeatable.",
)
@click.option("--extra", type=click.Choice(["add", "keep"]), help="What becomes of files that only this host has.")
@click.pass_obj
def command(
    home: Home,
    inviter: Address,
    token: str,
    listen: tuple[Address, ...],
    address: tuple[Address, ...],
    places: tuple[tuple[str, str], ...],
    extra: str | None,
) -> None:
    """Become a member of the cluster whose member at ADDR:PORT printed TOKEN (csfs invite)."""
    with founding.staged(home, "join") as stage:
        # A try that was answered but not finished: its key is good again, its certificate is asked for anew.
        (stage.keys / MEMBER_CERTIFICATE).unlink(missing_ok=True)
        called_at = founding.called_at(listen, address)
        joined = trio.run(partial(join.join, inviter, token, called_at, dict(places), stage.keys))
        settings = reader.parse(joined.settings, f"configuration from {inviter}")
        member = joined.credentials.identity.member
        founding.store(stage, settings, HostSettings(member, listen))
        if extra:
            _decide_extra(home, settings, extra)
    starting.ensure_daemon(home)
    _tell(settings, member)


def _decide_extra(home: Home, settings: Settings, extra: str) -> None:
    """Write down, for each volume, what becomes of files that only this host has."""
    for volume in settings.volumes:
        home.volume_dir(volume.name).mkdir(mode=0o700, exist_ok=True)
        files.write(home.extra(volume.name), f"{extra}\n".encode(), 0o600)


def _tell(settings: Settings, member: str) -> None:
    click.echo(f"This host is {member} of cluster {settings.cluster}.", err=True)
    for volume in settings.volumes:
        if path := volume.path_of(member):
            click.echo(f"Volume {volume.name}: csfs mount {path}; csfs status --watch shows how far it is", err=True)
