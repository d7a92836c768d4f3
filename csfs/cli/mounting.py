"""Names of one volume's files on this host, for `mount` and `umount`."""

import os

from csfs.cli import arguments
from csfs.config import files
from csfs.config.home import Home
from csfs.core.groups import Rules
from csfs.core.paths import RelPath
from csfs.errors import ConfigError
from csfs.mount import checks, mountinfo
from csfs.mount.settings import MountSettings

_SOURCE = "csfs:"


def mount_settings(home: Home, directory: str) -> MountSettings:
    """Return what a mount of the volume at `directory` has to be told.

    Raises:
        ConfigError: there is no such volume.
    """
    try:
        settings, host = files.loaded_both(home)
    except ConfigError:
        # The configuration may lie where csfs was mounted, and all that served it was killed.
        if not checks.clear_dead(mountinfo.real_path(directory)):
            raise
        settings, host = files.loaded_both(home)
    volume = arguments.volume_at(settings, host.member, directory)
    path = volume.path_of(host.member)
    assert path is not None, "volume_at finds volumes by their directory"
    return _settings(home, volume.name, path)


def mounted_settings(home: Home, directory: str) -> MountSettings:
    """Return what was told to the mount at `directory`, which may be of a volume that is configured no longer, or dead.

    Raises:
        ConfigError: csfs, with this home, has mounted nothing there, and there is no such volume.
    """
    path = mountinfo.real_path(directory)
    mount = mountinfo.top_at(mountinfo.current(), path)
    if mount is not None and mount.type == mountinfo.TYPE and mount.source.startswith(_SOURCE):
        name = mount.source.removeprefix(_SOURCE)
        if home.mount_pid(name).exists():
            return _settings(home, name, path)
    return mount_settings(home, directory)


def refuse_own_keys(home: Home, settings: MountSettings) -> None:
    """Check that this host's keys are not among what is sent to the others.

    Raises:
        ConfigError: they are.
    """
    keys, path = os.path.realpath(home.keys), mountinfo.real_path(settings.path)
    if mountinfo.is_below(keys, path):
        relative = RelPath(os.fsencode(os.path.relpath(keys, path)))
        if current_rules(home, settings.volume).is_synced(relative):
            own = os.path.dirname(os.path.relpath(keys, path))
            raise ConfigError(
                f"the volume {path} would send this host's keys, {keys}, to the other members; exclude /{own} from it "
                "(the profile etc does)"
            )


def is_mounted(settings: MountSettings) -> bool:
    """Return whether this volume is mounted on its directory, and served."""
    path = mountinfo.real_path(settings.path)
    if checks.clear_dead(path):
        return False
    mount = mountinfo.top_at(mountinfo.current(), path)
    return mount is not None and mount.type == mountinfo.TYPE and mount.source == f"{_SOURCE}{settings.volume}"


def _settings(home: Home, volume: str, path: str) -> MountSettings:
    return MountSettings(
        volume=volume,
        path=path,
        journal=str(home.journal(volume)),
        control_socket=str(home.control_socket),
        pid_file=str(home.mount_pid(volume)),
        log_file=str(home.mount_log(volume)),
    )


def current_rules(home: Home, volume: str) -> Rules:
    """Return the volume's rules as they are configured now; the mount process asks again when they change."""
    settings, host = files.loaded_both(home)
    return settings.rules(volume, host.member)
