"""`csfs volume add|list|remove`: what is kept the same."""

import contextlib
import os

import click

from csfs.cli import arguments, client, describing, output
from csfs.cli.groups import Group
from csfs.config import files, settings
from csfs.config.home import Home
from csfs.config.profiles import PROFILES
from csfs.config.settings import DEFAULT_PATH, POLICIES, GroupSettings, HostSettings, Settings, VolumeSettings
from csfs.core.paths import RelPath
from csfs.errors import ConfigError, FoundError, NotPermittedError
from csfs.mount import mountinfo
from csfs.trust.certificates import AUTHORITY_KEY


@click.group("volume", cls=Group)
def command() -> None:
    """Say which directories are kept the same."""


@command.command("add")
@click.argument("name", type=arguments.name, metavar="NAME")
@click.argument("path", type=click.Path(exists=True, file_okay=False))
@click.option("--profile", type=click.Choice(tuple(PROFILES)), help="What to leave out of a well-known directory.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help='What to keep the same; "/", everything, if not given.'
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="What to leave out. Repeatable.")
@click.option(
    "--policy", multiple=True, type=click.Choice(POLICIES), help="Which version wins a conflict; younger if not given."
)
@click.pass_obj
def add(
    home: Home,
    name: str,
    path: str,
    profile: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    policy: tuple[str, ...],
) -> None:
    """Keep the directory PATH the same on all members, as volume NAME."""
    host = files.loaded_both(home)[1]
    _refuse_without_authority(home)
    volume = VolumeSettings(name, ((DEFAULT_PATH, _real(path)),), profile or "", _groups(include, exclude, policy))

    def changed(old: Settings) -> Settings:
        new = settings.with_volume(old, volume)
        _refuse_own_files(home, new, host, volume)
        # The mark comes first: a volume that nobody founded would wait for ever to be pulled from somewhere.
        home.volume_dir(name).mkdir(mode=0o700, exist_ok=True)
        home.founding(name).touch(mode=0o600)
        return new

    try:
        files.change(home, changed)
    except BaseException:
        if all(name != other.name for other in files.loaded(home).volumes):
            home.founding(name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what a volume of that name has left stays
                home.volume_dir(name).rmdir()
        raise
    client.told(home, "reload")
    click.echo(f"Volume {name} is {_real(path)}. Next: csfs mount {_real(path)}", err=True)


@command.command("list")
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def list_volumes(home: Home, machine: bool) -> None:
    """List the volumes, and where they are on this host."""
    current, host = files.loaded_both(home)
    if machine:
        output.as_json(
            [{"name": volume.name} | describing.volume(current, volume, host.member) for volume in current.volumes]
        )
        return
    table = output.table("volume", "path", "profile", "groups")
    for volume in current.volumes:
        groups = "; ".join(", ".join(rule.members) for rule in current.volume_rules(volume.name).rules)
        table.add_row(volume.name, volume.path_of(host.member) or "-", volume.profile or "-", groups)
    output.console().print(table)


@command.command("remove")
@click.argument("name", type=arguments.name, metavar="NAME")
@click.pass_obj
def remove(home: Home, name: str) -> None:
    """Keep volume NAME the same no longer. Its files stay where they are, on every member."""
    current, host = files.loaded_both(home)
    _refuse_without_authority(home)
    path = current.volume(name).path_of(host.member)
    mounted = mountinfo.top_at(mountinfo.current(), path) if path else None
    if mounted is not None and mounted.type == mountinfo.TYPE:
        raise FoundError(f"volume {name} is mounted; first: csfs umount {path}")
    files.change(home, lambda old: settings.without_volume(old, name))
    home.founding(name).unlink(missing_ok=True)
    client.told(home, "reload")


def _refuse_without_authority(home: Home) -> None:
    """Make sure that peers will take over what is about to be changed.

    Raises:
        NotPermittedError: they believe only what the holder of the authority's key has signed.
    """
    if not (home.keys / AUTHORITY_KEY).exists():
        raise NotPermittedError("this host may not change the cluster: do it on the member where csfs init ran")


def _groups(include: tuple[str, ...], exclude: tuple[str, ...], policy: tuple[str, ...]) -> tuple[GroupSettings, ...]:
    if not include and not exclude and not policy:
        return ()
    usual = GroupSettings()
    return (GroupSettings(include=include or usual.include, exclude=exclude, policy=policy or usual.policy),)


def _real(path: str) -> str:
    """Return `path` in the form that mounts have.

    Raises:
        ConfigError: it leads through a symlink, which may lead elsewhere tomorrow.
    """
    absolute, real = os.path.abspath(path), os.path.realpath(path)
    if absolute != real:
        raise ConfigError(f"{absolute} leads through a symlink; name the directory itself: {real}")
    return absolute


def _refuse_own_files(home: Home, new: Settings, host: HostSettings, volume: VolumeSettings) -> None:
    """Make sure that csfs does not replicate its own keys, nor keep its state behind its own mount.

    Raises:
        ConfigError: it would.
    """
    top = volume.path_of(host.member)
    assert top is not None
    for own in (home.lib, home.run):
        if _is_within(str(own), top):
            raise ConfigError(
                f"{own} lies in {top}: csfs cannot keep its state behind its own mount; choose another --home"
            )
    if _is_within(str(home.etc), top):
        inside = RelPath(os.fsencode(os.path.relpath(home.etc, top)))
        if new.rules(volume.name, host.member).group_of(inside):
            raise ConfigError(
                f'{home.etc} holds this host\'s keys; add --profile etc, or --exclude "/{inside.decode()}"'
            )


def _is_within(path: str, top: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), top]) == top
