"""`csfs invite`: prints the token with which one host may join."""

import click

from csfs.cli import arguments, client, starting
from csfs.config import files
from csfs.config.home import Home


@click.command("invite")
@click.argument("member", type=arguments.name, metavar="MEMBER")
@click.option(
    "--expires",
    type=arguments.duration_s,
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="How long the token is good.",
)
@click.pass_obj
def command(home: Home, member: str, expires: float) -> None:
    """Print the token that makes one more host a MEMBER of the cluster."""
    settings, host = files.loaded_both(home)
    starting.ensure_daemon(home)
    answer = client.ask(home, "invite", {"member": member, "expires_s": expires})
    click.echo(answer["token"])
    addresses = settings.member(host.member).address
    place = addresses[0] if addresses else "ADDR:PORT"
    click.echo(f"On the new host: csfs join {place} TOKEN", err=True)
