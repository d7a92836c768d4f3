"""Arguments that several commands share: addresses, durations, paths, names."""

import datetime
import math
import os
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from csfs.config import addresses, durations, reader
from csfs.config.addresses import Address
from csfs.config.settings import Settings, VolumeSettings
from csfs.errors import ConfigError
from csfs.mount import mountinfo

T = TypeVar("T")

_SECONDS = re.compile(r"@(\d+)(?:\.(\d+))?")


def address(text: str) -> Address:
    """Return the address that an argument writes: `host:port`, `[v6]:port`."""
    return _parsed(addresses.parsed, text)


def listen_address(text: str) -> Address:
    """Return the address to listen on that an argument writes."""
    return _parsed(addresses.to_listen_on, text)


def name(text: str) -> str:
    """Return the name of a cluster, member or volume."""
    return _parsed(reader.checked_name, text)


def duration_s(text: str) -> float:
    """Return the seconds that `90`, `90s`, `15m`, `1h` or `7d` are."""
    return _parsed(durations.parsed, text)


class Seconds(click.FloatRange):
    """A number of seconds, 0 or more, that comes to an end."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a number", param, ctx)
        return seconds


def place(text: str) -> tuple[str, str]:
    """Return a volume and its directory on this host from `NAME=/path`."""
    return _parsed(_place, text)


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _place(text: str) -> tuple[str, str]:
    volume, equals, path = text.partition("=")
    if not equals or not path.startswith("/"):
        raise ValueError(f'"{text}" must be a volume and its directory: NAME=/path')
    return reader.checked_name(volume), os.path.normpath(path)


def place_of(path: str) -> bytes:
    """Return the whole name that an argument means: directories on the way are followed, the last part is not."""
    whole = os.path.abspath(path)
    directory, name = os.path.split(whole)
    return os.fsencode(os.path.join(os.path.realpath(directory), name))


def names_version(text: str) -> bool:
    """Return whether an argument is `PATH@VERSION`, and not a path alone."""
    path, at, version = text.rpartition("@")
    return bool(at and path and version) and "/" not in version


def versioned(text: str) -> tuple[bytes, str]:
    """Return the path and the version that `PATH@VERSION` means."""
    if not names_version(text):
        raise click.BadParameter(f'"{text}" must be PATH@VERSION; csfs history PATH lists the versions')
    path, _, version = text.rpartition("@")
    return place_of(path), version


def moment_ns(text: str) -> int:
    """Return the nanoseconds since 1970 that a past time of this host's clock means, or a duration ago."""
    now_ns = time.time_ns()
    found_ns = _parsed(lambda found: moment_of(found, now_ns), text)
    if found_ns > now_ns:
        raise click.BadParameter(f'"{text}" is yet to come')
    if found_ns < 0:
        raise click.BadParameter(f'"{text}" is before 1970')
    return found_ns


def moment_of(text: str, now_ns: int) -> int:
    """Return the nanoseconds since 1970 that a time means at `now_ns`.

    Raises:
        ValueError: it is none.
    """
    now = datetime.datetime.fromtimestamp(now_ns // 10**9)
    if found := _SECONDS.fullmatch(text):
        return int(found[1]) * 10**9 + int((found[2] or "").ljust(9, "0")[:9])
    if durations.PATTERN.fullmatch(text) and not text.isdigit():
        return now_ns - int(durations.parsed(text) * 1e9)
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            text = f"{now:%Y-%m-%d}T{text.rjust(text.count(':') * 3 + 2, '0')}"
        then = datetime.datetime.fromisoformat(text)
        then.timestamp()  # may find it too long ago
    except (ValueError, OverflowError):
        raise ValueError(f'"{text}" is no time: write 2026-01-31T14:05, 14:05, 90m (ago) or @1769868300') from None
    return int(then.timestamp()) * 10**9 + then.microsecond * 1000


def volume_at(settings: Settings, member: str, directory: str) -> VolumeSettings:
    """Return the volume whose directory on this host is `directory`.

    Raises:
        ConfigError: there is none.
    """
    for path in (os.path.abspath(directory), mountinfo.real_path(directory)):
        for volume in settings.volumes:
            if volume.path_of(member) == path:
                return volume
    known = [f"{volume.path_of(member)} ({volume.name})" for volume in settings.volumes if volume.path_of(member)]
    raise ConfigError(
        f"{os.path.abspath(directory)} is no volume's directory on this host; there are: {', '.join(known) or 'none'}; "
        "csfs volume add NAME PATH makes one"
    )
