"""`csfs config check|show|reload`: the configuration as csfs reads it."""

from pathlib import Path

import click

from csfs.cli import client, describing, output
from csfs.cli.groups import Group
from csfs.config import files, reader, render
from csfs.config.home import Home
from csfs.config.settings import DEFAULT_PATH, HostSettings, Settings
from csfs.errors import ConfigError
from csfs.store.owners import Owners


@click.group("config", cls=Group)
def command() -> None:
    """Look at the configuration."""


@command.command("check")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def check(home: Home, file: Path | None) -> None:
    """Say everything that is wrong with this host's configuration, or with FILE as a csfs.toml."""
    if file is None:
        settings, host = files.loaded_both(home)
        _check_owners(settings, host)
        _check_rates(home, settings, host)
    else:
        reader.parse(files.text_of(file), str(file))


def _check_owners(settings: Settings, host: HostSettings) -> None:
    """Make sure that this host knows who is to have everything on it.

    Raises:
        ConfigError: it does not.
    """
    for volume in settings.volumes:
        places = {f"volumes.{volume.name}.owners": volume.owners_at(host.member)}
        for number, group in enumerate(volume.groups):
            places[f"volumes.{volume.name}.groups[{number}].owners"] = volume.owners_at(host.member, group)
        for place, choice in places.items():
            if unknown := Owners().following(choice).unknown():
                raise ConfigError(f"{place}: this host knows no {unknown}; add the account, or name another")


def _check_rates(home: Home, settings: Settings, host: HostSettings) -> None:
    """Make sure that whoever is sent to at a rate of its own is a member.

    Raises:
        ConfigError: somebody is not, or not any more.
    """
    for peer, _ in host.send_rates:
        if peer not in (*settings.member_names, DEFAULT_PATH):
            names = ", ".join(settings.member_names)
            raise ConfigError(f"{home.member_file}: send_rate.{peer}: no member of this name; there are: {names}")


@command.command("show")
@click.option("--json", "machine", is_flag=True, help="For programs, with every default and profile filled in.")
@click.pass_obj
def show(home: Home, machine: bool) -> None:
    """Print the configuration."""
    settings, host = files.loaded_both(home)
    if machine:
        output.as_json(describing.configuration(settings, host))
        return
    click.echo(
        f"# {home.settings_file}\n{render.rendered(settings)}\n# {home.member_file}\n{render.rendered_host(host)}",
        nl=False,
    )


@command.command("reload")
@click.pass_obj
def reload(home: Home) -> None:
    """Make the daemon read a csfs.toml that was edited by hand; raise its revision first."""
    files.loaded_both(home)
    for notice in client.ask(home, "reload"):
        click.echo(f"csfs: {notice}", err=True)
