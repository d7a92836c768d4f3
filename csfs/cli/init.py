"""`csfs init`: makes a cluster of one."""

import datetime
import shutil

import click

from csfs.cli import arguments, founding
from csfs.config.addresses import Address
from csfs.config.home import Home
from csfs.config.settings import DEFAULT_PATH, HostSettings, MemberSettings, Settings
from csfs.errors import ConfigError
from csfs.trust import certificates


@click.command("init")
@click.option(
    "--member", required=True, type=arguments.name, metavar="NAME", help="What this host is called in the cluster."
)
@click.option(
    "--cluster",
    default="csfs",
    type=arguments.name,
    metavar="NAME",
    show_default=True,
    help="What the cluster is called.",
)
@founding.listen_option
@founding.address_option
@click.pass_obj
def command(home: Home, member: str, cluster: str, listen: tuple[Address, ...], address: tuple[Address, ...]) -> None:
    """Make a cluster whose only member is this host."""
    if member == DEFAULT_PATH:
        raise ConfigError(f'no member may be called "{DEFAULT_PATH}": in path.{DEFAULT_PATH} it stands for all of them')
    settings = Settings(cluster, (MemberSettings(member, founding.called_at(listen, address)),))
    with founding.staged(home, "init") as stage:
        shutil.rmtree(stage.keys, ignore_errors=True)  # of an earlier try that was killed
        certificates.found_cluster(stage.keys, cluster, member, datetime.datetime.now(datetime.UTC))
        founding.store(stage, settings, HostSettings(member, listen))
    click.echo(f"Cluster {cluster} is made, this host is {member}. Next: csfs volume add NAME PATH", err=True)
