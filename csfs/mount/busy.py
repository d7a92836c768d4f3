"""Who holds a mount: found by mount id and device alone, so that a mount that hangs cannot hang the search."""

import os

from csfs.core.paths import shown
from csfs.mount.mountinfo import MountPoint, parsed

_PATH = getattr(os, "O_PATH", 0)


def holders(mount: MountPoint) -> list[str]:
    """Return `program (pid)` of every process with a file open, mapped or as its directory on the mount."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if _holds(entry, mount):
                    found.append(f"{_program(entry)} ({entry})")
            except OSError:
                continue  # gone meanwhile
    return found


def namespaces_with(device: str) -> list[str]:
    """Return `program (pid)` of a process in each mount namespace in which a file system of that device is still mounted."""
    found, seen = [], set[str]()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            namespace = os.readlink(f"/proc/{entry}/ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            with open(f"/proc/{entry}/mountinfo", "rb") as file:
                if any(mount.device == device for mount in parsed(file.read())):
                    found.append(f"{_program(entry)} ({entry})")
        except OSError:
            continue  # gone meanwhile
    return found


def _holds(pid: str, mount: MountPoint) -> bool:
    directory = f"/proc/{pid}"
    if any(_mount_id_of(f"{directory}/{name}") == mount.id for name in ("cwd", "root")):
        return True
    for name in os.listdir(f"{directory}/fdinfo"):
        if _mount_id(f"{directory}/fdinfo/{name}") == mount.id:
            return True
    major, minor = (int(part) for part in mount.device.split(":"))
    device = f"{major:02x}:{minor:02x}"
    with open(f"{directory}/maps", "rb") as file:
        return any(line.split()[3].decode() == device for line in file if line.count(b" ") >= 4)


def _mount_id_of(path: str) -> int:
    """Return the id of the mount that a magic link leads to; an O_PATH open asks the file system nothing."""
    descriptor = os.open(path, _PATH | os.O_CLOEXEC)
    try:
        return _mount_id(f"/proc/self/fdinfo/{descriptor}")
    finally:
        os.close(descriptor)


def _mount_id(path: str) -> int:
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(b"mnt_id:"):
                    return int(line.split()[1])
    except FileNotFoundError:
        pass
    return -1


def _program(pid: str) -> str:
    with open(f"/proc/{pid}/comm", "rb") as file:
        return shown(file.read().rstrip(b"\n"))
