"""Who passes a mount by: programs that hold what is under it from before, and those whose mount namespace does not have it.

All is read from /proc, and paths are compared as text: no file system is asked anything, so one that hangs cannot hang the search.
"""

import os
from collections.abc import Container, Iterator
from typing import NamedTuple

from csfs.core.paths import shown
from csfs.mount import mountinfo
from csfs.mount.mountinfo import MountPoint

SHOWN_MAX = 100
_DELETED = " (deleted)"
_KERNEL_THREAD = 0x0020_0000
"""PF_KTHREAD among the flags of a process, proc_pid_stat(5)."""


class Passing(NamedTuple):
    """A process that passes the mount by, and how."""

    pid: int
    program: str
    how: str


class _Namespace(NamedTuple):
    """The mounts of one mount namespace by id; `passes`: the directory can be reached there, and the mount is not there."""

    mounts: dict[int, MountPoint]
    passes: bool


class _Volume(NamedTuple):
    """A mounted directory: the device and the path within that device of what is under it; `mount` is the device on top."""

    device: str
    inside: str
    mount: str


def passing(path: str, own: Container[int] = ()) -> list[Passing]:
    """Return who passes the mount at `path` by, at most `SHOWN_MAX`; the processes `own` belong to csfs."""
    mounts = mountinfo.current()
    top = mountinfo.top_at(mounts, path)
    below = next((mount for mount in mounts if top is not None and mount.id == top.parent), None)
    if top is None or below is None or top.type != mountinfo.TYPE:
        return []
    volume = _Volume(below.device, _inside(below, path) or "/", top.device)
    namespaces: dict[str, _Namespace] = {}
    found: list[Passing] = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in own or len(found) >= SHOWN_MAX:
            continue
        try:
            found += [Passing(int(entry), _program(entry), how) for how in _ways(entry, volume, namespaces)]
        except OSError:
            continue  # gone meanwhile
    return found


def _ways(pid: str, volume: _Volume, namespaces: dict[str, _Namespace]) -> list[str]:
    """Return how a process passes the mount by; of each mount namespace without it the first process is named."""
    if _is_kernels(pid):
        return []  # it opens no file of the volume, and nobody can start it again
    descriptors = list(_descriptors(pid))
    if any(link == "/dev/fuse" for link, _, _ in descriptors):
        return []  # it serves a file system, this one or another: programs get at what it has open through that
    name = os.readlink(f"/proc/{pid}/ns/mnt")
    is_first = name not in namespaces
    if is_first:
        namespaces[name] = _namespace(pid, volume)
    mounts, passes = namespaces[name]
    ways = ["is in a mount namespace that does not have the mount"] if is_first and passes else []
    for what, link, mount_id in (("works in", *_place(pid, "cwd")), ("has as its root", *_place(pid, "root"))):
        if _is_under(link, mounts.get(mount_id), volume):
            ways.append(f"{what} {link}")
    for link, mount_id, writing in descriptors:
        if writing and _is_under(link, mounts.get(mount_id), volume):
            ways.append(f"writes {link}")
    return ways


def _namespace(pid: str, volume: _Volume) -> _Namespace:
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        mounts = mountinfo.parsed(file.read())
    reaches = any(
        mount.device == volume.device
        and (mountinfo.is_below(volume.inside, mount.root) or mountinfo.is_below(mount.root, volume.inside))
        for mount in mounts
    )
    has = any(mount.device == volume.mount for mount in mounts)
    return _Namespace({mount.id: mount for mount in mounts}, reaches and not has)


def _is_under(link: str, mount: MountPoint | None, volume: _Volume) -> bool:
    """Return whether what a process has open lies under the mount; `mount` is the one that it was opened on."""
    if mount is None or mount.device != volume.device or link.endswith(_DELETED):
        return False
    inside = _inside(mount, link)
    return inside is not None and mountinfo.is_below(inside, volume.inside)


def _inside(mount: MountPoint, path: str) -> str | None:
    """Return where `path`, which lies on `mount`, is within the file system; None if the text does not say."""
    if not mountinfo.is_below(path, mount.path):
        return None
    rest = path[len(mount.path.rstrip("/")) :]
    return mount.root.rstrip("/") + rest


def _place(pid: str, name: str) -> tuple[str, int]:
    """Return the path of a process's directory, and the id of the mount that it lies on."""
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_PATH | os.O_CLOEXEC)
    try:
        return os.readlink(f"/proc/{pid}/{name}"), _fields(f"/proc/self/fdinfo/{descriptor}")[0]
    finally:
        os.close(descriptor)


def _descriptors(pid: str) -> Iterator[tuple[str, int, bool]]:
    """Yield what a process has open: path, mount id, and whether for writing."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{number}")
            if link.startswith("/"):
                mount_id, flags = _fields(f"/proc/{pid}/fdinfo/{number}")
                writing = flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_PATH
                yield link, mount_id, writing
        except FileNotFoundError:
            continue  # closed meanwhile


def _fields(path: str) -> tuple[int, int]:
    """Return mount id and flags of a descriptor."""
    mount_id, flags = -1, 0
    with open(path, "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                mount_id = int(line.split()[1])
            elif line.startswith(b"flags:"):
                flags = int(line.split()[1], 8)
    return mount_id, flags


def _is_kernels(pid: str) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return bool(int(file.read().rpartition(b")")[2].split()[6]) & _KERNEL_THREAD)


def _program(pid: str) -> str:
    with open(f"/proc/{pid}/comm", "rb") as file:
        return shown(file.read().rstrip(b"\n"))
