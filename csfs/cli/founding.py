"""What `init` and `join` share: a host becomes a member in one step, or stays as it was."""

import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from csfs.cli import arguments, completing
from csfs.config import files
from csfs.config.addresses import PORT_DEFAULT, Address
from csfs.config.home import Home
from csfs.config.settings import OFF, HostSettings, Settings
from csfs.errors import ConfigError
from csfs.trust.certificates import MEMBER_CERTIFICATE


def refuse_member(home: Home) -> None:
    """Make sure that this host is not a member of a cluster yet.

    Raises:
        ConfigError: it is; nothing was changed.
    """
    for place in (home.settings_file, home.member_file, home.keys / MEMBER_CERTIFICATE):
        if place.exists():
            raise ConfigError(f"{place} is there: this host is a member already; move {home.etc} away to begin anew")


@contextmanager
def staged(home: Home, name: str) -> Iterator[Home]:
    """Give a home whose configuration is built aside; leaving without an error puts it in place."""
    refuse_member(home)
    home.made()
    stage = replace(home, etc=home.etc / f".{name}")
    stage.etc.mkdir(mode=0o700, exist_ok=True)
    yield stage
    _published(stage, home)
    shutil.rmtree(stage.etc)


def store(stage: Home, settings: Settings, host: HostSettings) -> None:
    """Write both configuration files of a new member."""
    files.store_host(stage, host)
    files.store(stage, settings)


def called_at(listen: Sequence[Address], address: Sequence[Address]) -> tuple[Address, ...]:
    """Return where peers call this host: what was said, or where it listens, its host name standing for anywhere; perhaps nowhere."""
    if address:
        return tuple(address)
    name = socket.gethostname()
    return tuple(dict.fromkeys(Address(name, one.port) if one.is_anywhere else one for one in listen))


def _listening_at(_context: click.Context, _parameter: click.Parameter, texts: Sequence[str]) -> tuple[Address, ...]:
    """Return where this host listens: what was said, everywhere if nothing was."""
    if OFF not in texts:
        return tuple(dict.fromkeys(map(arguments.listen_address, texts))) or (Address("*", PORT_DEFAULT),)
    if len(set(texts)) > 1:
        raise click.BadParameter(f'"{OFF}" means nowhere: it cannot be given with an address')
    return ()


listen_option = click.option(
    "--listen",
    multiple=True,
    callback=_listening_at,
    metavar=f"ADDR:PORT|{OFF}",
    shell_complete=completing.nowhere,
    help=f"Where to listen; everywhere if not given, nowhere if {OFF}. Repeatable.",
)
address_option = click.option(
    "--address",
    multiple=True,
    type=arguments.address,
    metavar="ADDR:PORT",
    help="Where peers call this host, if not where it listens.",
)


def _published(stage: Home, home: Home) -> None:
    if home.keys.exists():
        home.keys.rmdir()  # refuses when somebody's keys are in it
    moves: list[tuple[Path, Path]] = [
        (stage.keys, home.keys),
        (stage.member_file, home.member_file),
        (stage.settings_file, home.settings_file),
    ]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise
