"""What must be so before a directory is mounted over: each failure is one line that names the culprit and the cure."""

import errno
import os
import stat

from csfs.errors import ConfigError
from csfs.mount import mountinfo, syscalls
from csfs.mount.settings import MountSettings

DEVICE = "/dev/fuse"
DEVICE_NUMBER = os.makedev(10, 229)
"""Linux, Documentation/admin-guide/devices.txt."""


def check(settings: MountSettings) -> None:
    """Check that the volume can be mounted; a mount that died without its parent is cleared away first.

    Raises:
        ConfigError: it cannot.
    """
    _check_device()
    _check_mounts(settings.path)
    _check_directory(settings.path)
    for name in (settings.journal, settings.control_socket, settings.pid_file, settings.log_file):
        if mountinfo.is_below(os.path.realpath(name), settings.path):
            raise ConfigError(
                f"{name} lies inside the volume {settings.path}; csfs cannot keep its own files there (see --home)"
            )


def _check_device() -> None:
    try:
        status = os.stat(DEVICE)
    except FileNotFoundError:
        raise ConfigError(f"{DEVICE} is missing; load the kernel's module: modprobe fuse") from None
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != DEVICE_NUMBER:
        major, minor = os.major(DEVICE_NUMBER), os.minor(DEVICE_NUMBER)
        raise ConfigError(f"{DEVICE} is something else; move it away, then: mknod {DEVICE} c {major} {minor}")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        raise ConfigError(f"{DEVICE} cannot be opened for reading and writing; csfs mount has to run as root")


def _check_mounts(path: str) -> None:
    mounts = mountinfo.current()
    top = mountinfo.top_at(mounts, path)
    if top is not None and top.type == mountinfo.TYPE:
        if not _is_dead(path):
            raise ConfigError(f"{path} is mounted by csfs already; csfs umount {path} ends that")
        syscalls.umount(os.fsencode(path), syscalls.MNT_DETACH)
        return _check_mounts(path)
    for mount in mounts:
        if mount.type == mountinfo.TYPE and mount.path != path:
            if mountinfo.is_below(path, mount.path):
                raise ConfigError(
                    f"{path} lies inside another csfs volume, {mount.path}; exclude it there or mount that one"
                )
            if mountinfo.is_below(mount.path, path):
                raise ConfigError(
                    f"another csfs volume, {mount.path}, is mounted inside {path}; csfs umount {mount.path} first"
                )
    return None


def _is_dead(path: str) -> bool:
    try:
        os.statvfs(path)  # what stat(2) says, the kernel remembers for hours; this it asks the mount each time
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def _check_directory(path: str) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; make it: mkdir -p {path}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{path} is not a directory; csfs mounts over directories alone")
    if path == "/":
        raise ConfigError("/ cannot be a volume; name the directories below it that are to be kept the same")
