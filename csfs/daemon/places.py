"""Where a path that a command names is: which volume, and which path in it."""

import os
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from csfs.core.paths import RelPath, checked, shown
from csfs.daemon.cluster import Cluster
from csfs.daemon.mounts import MountedVolume
from csfs.daemon.unusable import Unusable
from csfs.errors import ConfigError, NotRunningError
from csfs.replicate.volume import Volume

CAUGHT_UP_S_MAX = 10.0
"""Who writes without a pause is not waited for: the gate lets nothing pass over what was not looked at."""

Handler = Callable[[dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a volume of this member; `top` is the volume's directory."""

    mounted: MountedVolume
    top: bytes
    path: RelPath

    @property
    def volume(self) -> Volume:
        """What the workers share of the volume."""
        return self.mounted.worker.volume

    def name(self, path: RelPath | None = None) -> bytes:
        """Return the whole name on this host, of this path or of another one of the volume."""
        path = self.path if path is None else path
        return os.path.join(self.top, path) if path else self.top

    def shown(self, path: RelPath | None = None) -> str:
        """Return the whole name for a person or for JSON."""
        return shown(self.name(path))

    def check_mounted(self) -> None:
        """Make sure that the volume can be looked at and changed.

        Raises:
            NotRunningError: it is not mounted.
            ConfigError: it stands still.
        """
        if not self.volume.mounted:
            raise NotRunningError(f"{shown(self.top)} is not mounted; csfs mount {quoted(self.top)}")
        if self.volume.stopped:
            raise ConfigError(f"{shown(self.top)}: {self.volume.stopped}")

    def refuse_unknown(self) -> None:
        """Make sure that it was no slip of the pen if nothing was found here.

        Raises:
            ConfigError: it may have been.
        """
        if self.path and self.volume.engine.may_settle(self.path) is None:
            raise ConfigError(f"{self.shown()} is not kept the same; csfs config show --json has the patterns")
        if self.path and self.volume.index.rows.row(self.path) is None:
            raise ConfigError(f"nothing is known of {self.shown()}; is it written as `ls` has it?")

    async def catch_up(self) -> None:
        """Return once what programs have written before is in the index, or they write on and on."""
        worker, volume = self.mounted.worker, self.volume
        with trio.move_on_after(CAUGHT_UP_S_MAX):
            sequence = await self.mounted.flush()
            if sequence is None:
                return
            await volume.progress.wait_until(lambda: worker.is_compared and worker.observer.digested >= sequence)


class Places:
    """The volumes of this member, by the paths that they are at."""

    def __init__(self, cluster: Cluster, mounts: Mapping[str, MountedVolume], unusable: Unusable) -> None:
        self.member = cluster.member
        self._cluster = cluster
        self._mounts = mounts
        self._unusable = unusable

    def of(self, name: object) -> Place:
        """Return the place of an absolute path, which need not exist.

        Raises:
            ConfigError: it is in no volume of this member, or in one that stands still.
        """
        if not isinstance(name, bytes):
            raise ConfigError("a path is missing")
        place = self.find(name)
        if place is None:
            raise ConfigError(f"{shown(name)} is in no volume of this member; csfs volume list shows them")
        return place

    def find(self, name: bytes) -> Place | None:
        """Return the place of an absolute path, None if it is in no volume of this member.

        Raises:
            ConfigError: it is in one that stands still.
        """
        normal = os.path.normpath(name)
        volume = self._cluster.settings.volume_at(os.fsdecode(normal), self.member)
        if volume is not None:
            self._unusable.check(volume.name)
        if volume is None or volume.name not in self._mounts:
            return None
        top = os.fsencode(volume.path_of(self.member) or "")
        try:
            path = checked(normal[len(top) :].strip(b"/"))
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return Place(self._mounts[volume.name], top, path)

    def all(self, names: object) -> list[Place]:
        """Return the places of several paths; of every volume for none.

        Raises:
            ConfigError: one is in no volume, or stands still.
        """
        if isinstance(names, list) and names:
            return [self.of(name) for name in names]
        self._unusable.check_all()
        tops = [volume.path_of(self.member) for volume in self._cluster.settings.volumes if volume.name in self._mounts]
        return [self.of(os.fsencode(top)) for top in sorted(top for top in tops if top)]


def quoted(name: bytes) -> str:
    """Return a name as a shell reads it, also where it is not UTF-8 or has control characters."""
    if shown(name).encode() == name:
        return shlex.quote(shown(name))
    plain = {ord("'"): "\\'", ord("\\"): "\\\\"}
    return "$'" + "".join(plain.get(c) or (chr(c) if 32 <= c < 127 else f"\\x{c:02x}") for c in name) + "'"
