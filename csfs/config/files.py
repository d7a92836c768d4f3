"""The configuration's files: read, and replaced as a whole, one writer at a time."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from csfs.config import reader, render
from csfs.config.home import Home
from csfs.config.settings import HostSettings, Settings
from csfs.errors import ConfigError, NotPermittedError

SETTINGS_SIZE_MAX = 1024 * 1024


def loaded(home: Home) -> Settings:
    """Return the cluster's settings.

    Raises:
        ConfigError: there are none, or they cannot be used.
    """
    return reader.parse(text_of(home.settings_file), str(home.settings_file))


def loaded_host(home: Home) -> HostSettings:
    """Return this host's settings.

    Raises:
        ConfigError: there are none, or they cannot be used.
    """
    return reader.parse_host(text_of(home.member_file), str(home.member_file))


def loaded_both(home: Home) -> tuple[Settings, HostSettings]:
    """Return the cluster's and this host's settings, which fit together.

    Raises:
        ConfigError: something is wrong with either, or this host is no member of the cluster.
    """
    settings, host = loaded(home), loaded_host(home)
    if host.member not in settings.member_names:
        names = ", ".join(settings.member_names)
        raise ConfigError(
            f'{home.member_file}: member "{host.member}" is not in {home.settings_file} (which has {names})'
        )
    return settings, host


def text_of(file: Path) -> str:
    """Return the text of a configuration file.

    Raises:
        ConfigError: it cannot be one.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(SETTINGS_SIZE_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{file} is missing; make a cluster with csfs init, or enter one with csfs join") from None
    except PermissionError:
        raise NotPermittedError(f"{file} may not be read by this user; run csfs as root") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    if len(data) > SETTINGS_SIZE_MAX:
        raise ConfigError(f"{file} is larger than {SETTINGS_SIZE_MAX} bytes; is it the right file?")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: byte {error.start} is not UTF-8") from None


def store(home: Home, settings: Settings) -> None:
    """Replace the cluster's settings, durably. The caller holds `locked`.

    Raises:
        ConfigError: `settings` would not read back as they are; nothing was written.
    """
    text = render.rendered(settings)
    read = reader.parse(text, "the new configuration")
    assert read == settings, "settings do not read back as they were written"
    write(home.settings_file, text.encode(), 0o644)


def store_host(home: Home, host: HostSettings) -> None:
    """Replace this host's settings, durably.

    Raises:
        ConfigError: `host` would not read back as it is; nothing was written.
    """
    text = render.rendered_host(host)
    assert reader.parse_host(text) == host, "settings do not read back as they were written"
    write(home.member_file, text.encode(), 0o644)


def change(home: Home, changed: Callable[[Settings], Settings]) -> Settings:
    """Read the settings, let `changed` make new ones of them, store and return those; nobody else writes meanwhile.

    Raises:
        ConfigError: what is there, or what `changed` made of it, cannot be used; the file is as it was.
    """
    with locked(home):
        settings = changed(loaded(home))
        store(home, settings)
    return settings


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Wait until nobody else changes the configuration, and keep others waiting meanwhile."""
    descriptor = os.open(home.settings_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(file: Path, data: bytes, mode: int) -> None:
    """Replace `file` as a whole, durably: whoever reads it sees the old content or the new one."""
    unfinished = file.with_name(f".{file.name}.new")
    with suppress(FileNotFoundError):
        unfinished.unlink()  # left by a crash
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        unfinished.rename(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # syncing a file does not make its new name durable; fsync(2)
    finally:
        os.close(directory)
