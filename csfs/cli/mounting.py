"""Names of one volume's files on this host, for `mount` and `umount`."""

from csfs.cli import arguments
from csfs.config import files
from csfs.config.home import Home
from csfs.config.settings import VolumeSettings
from csfs.core.groups import Rules
from csfs.mount.settings import MountSettings


def mount_settings(home: Home, directory: str) -> MountSettings:
    """Return what a mount of the volume at `directory` has to be told.

    Raises:
        ConfigError: there is no such volume.
    """
    settings, host = files.loaded_both(home)
    return settings_of(home, arguments.volume_at(settings, host.member, directory), host.member)


def settings_of(home: Home, volume: VolumeSettings, member: str) -> MountSettings:
    """Return what a mount of `volume`, which has a directory at `member`, has to be told."""
    path = volume.path_of(member)
    assert path is not None, "volume_at finds volumes by their directory"
    return MountSettings(
        volume=volume.name,
        path=path,
        journal=str(home.journal(volume.name)),
        control_socket=str(home.control_socket),
        pid_file=str(home.mount_pid(volume.name)),
        log_file=str(home.mount_log(volume.name)),
    )


def current_rules(home: Home, volume: str) -> Rules:
    """Return the volume's rules as they are configured now; the mount process asks again when they change."""
    settings, host = files.loaded_both(home)
    return settings.rules(volume, host.member)
