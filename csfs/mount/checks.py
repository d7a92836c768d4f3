"""What must be so before a directory is mounted over: each failure is one line that names the culprit and the cure."""

import errno
import os
import stat
import sys

import csfs
from csfs.errors import ConfigError, NotPermittedError
from csfs.mount import mountinfo, syscalls
from csfs.mount.mountinfo import MountPoint
from csfs.mount.options import MountOptions
from csfs.mount.settings import MountSettings

DEVICE = "/dev/fuse"
DEVICE_NUMBER = os.makedev(10, 229)
"""Linux, Documentation/admin-guide/devices.txt."""


SELINUX_ENFORCE = "/sys/fs/selinux/enforce"
_LABEL = "security.selinux"


def check(settings: MountSettings, options: MountOptions, selinux_enforce: str = SELINUX_ENFORCE) -> None:
    """Check that the volume can be mounted; a mount that died without its parent is cleared away first.

    Raises:
        ConfigError: it cannot.
    """
    _check_device()
    clear_dead(settings.path)
    _check_mounts(settings.path)
    _check_directory(settings.path)
    _check_same_files(settings.path)
    _check_labels(settings.path, options, selinux_enforce)
    for name in {os.path.realpath(sys.prefix), os.path.dirname(os.path.realpath(csfs.__file__))}:
        if mountinfo.is_below(name, settings.path):
            raise ConfigError(
                f"csfs itself runs from {name}, inside the volume {settings.path}: a mount that died would take its own "
                "programs with it; install csfs elsewhere"
            )
    for name in (settings.journal, settings.control_socket, settings.pid_file, settings.log_file):
        if mountinfo.is_below(os.path.realpath(name), settings.path):
            raise ConfigError(
                f"{name} lies inside the volume {settings.path}; csfs cannot keep its own files there (see --home)"
            )


def clear_dead(path: str) -> bool:
    """Unmount what csfs has mounted at `path` if nobody serves it any more; return whether it was so."""
    found = False
    while (top := mountinfo.top_at(mountinfo.current(), path)) and top.type == mountinfo.TYPE and _is_dead(path):
        syscalls.umount(os.fsencode(path), syscalls.MNT_DETACH)
        found = True
    return found


def _check_device() -> None:
    if os.geteuid() != 0:
        raise NotPermittedError("only root can mount a volume; run csfs as root")
    try:
        status = os.stat(DEVICE)
    except FileNotFoundError:
        raise ConfigError(f"{DEVICE} is missing; load the kernel's module: modprobe fuse") from None
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != DEVICE_NUMBER:
        major, minor = os.major(DEVICE_NUMBER), os.minor(DEVICE_NUMBER)
        raise ConfigError(f"{DEVICE} is something else; move it away, then: mknod {DEVICE} c {major} {minor}")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        raise ConfigError(f"{DEVICE} cannot be opened for reading and writing; see ls -l {DEVICE}")


def _check_mounts(path: str) -> None:
    mounts = mountinfo.current()
    top = mountinfo.top_at(mounts, path)
    if top is not None and top.type == mountinfo.TYPE:
        raise ConfigError(f"{path} is mounted by csfs already ({top.source}); csfs umount {path} ends that")
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


def _check_same_files(path: str) -> None:
    """Make sure that no other volume has the same files by another name: a bind mount, say."""
    mounts = {mount.id: mount for mount in mountinfo.current()}
    here = mounts.get(_mount_id(path))
    if here is None:
        return
    device, ours = _place(here, path)
    for mount in mounts.values():
        if mount.type != mountinfo.TYPE or mount.parent not in mounts:
            continue
        other, theirs = _place(mounts[mount.parent], mount.path)
        if device == other and (mountinfo.is_below(ours, theirs) or mountinfo.is_below(theirs, ours)):
            raise ConfigError(
                f"{path} and the csfs volume {mount.path} have the same files, by a bind mount; "
                f"csfs umount {mount.path} first, or keep only one of the two as a volume"
            )


def _place(mount: MountPoint, path: str) -> tuple[str, str]:
    """Return the file system that `path`, which `mount` shows, belongs to, and what it is called there."""
    return mount.device, os.path.normpath(f"{mount.root.rstrip('/')}/{os.path.relpath(path, mount.path)}")


def _mount_id(path: str) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(b"mnt_id:")), -1)
    finally:
        os.close(descriptor)


def _check_labels(path: str, options: MountOptions, selinux_enforce: str) -> None:
    """SELinux gives all that FUSE shows one label, and programs that it confines may not read that."""
    try:
        with open(selinux_enforce, "rb") as file:
            is_enforcing = file.read().strip() == b"1"
    except OSError:
        return  # SELinux is not there
    if is_enforcing and not options.has_context:
        try:
            label = os.getxattr(path, _LABEL).rstrip(b"\0").decode(errors="replace")
        except OSError:
            label = "system_u:object_r:etc_t:s0"
        raise ConfigError(
            f"SELinux is enforcing, and would give everything in {path} the label fusefs_t, which programs that it confines "
            f'may not use; mount with -o context="{label}" to give everything that label instead, or setenforce 0'
        )


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
