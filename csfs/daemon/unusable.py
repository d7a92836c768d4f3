"""Volumes that the daemon cannot work on: it says why, their mounts stay connected and go on noting, and no other volume is held up."""

from collections.abc import Container, Iterator
from typing import Any

import trio

from csfs.daemon.connection import ControlConnection
from csfs.errors import ConfigError
from csfs.wire.control import LetGo, Unmounted


class Unusable:
    """Why volumes stand still, by name."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._begun: dict[str, trio.Event] = {}
        """By volume, what the connections wait for that `hold` keeps."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._reasons)

    def __contains__(self, volume: str) -> bool:
        return volume in self._reasons

    def add(self, volume: str, reason: str) -> None:
        """Nothing can be done about a volume; `reason` names the culprit and the cure."""
        self._reasons[volume] = reason

    def begun(self, volume: str) -> None:
        """The volume is worked on from now on: its mount is to say hello anew."""
        self._reasons.pop(volume, None)
        if volume in self._begun:
            self._begun.pop(volume).set()

    def keep_only(self, configured: Container[str]) -> None:
        """Nothing stands in the way of what is said of all volumes but those that the configuration has."""
        self._reasons = {volume: reason for volume, reason in self._reasons.items() if volume in configured}

    def check(self, volume: str) -> None:
        """Make sure that there is nothing against working on a volume.

        Raises:
            ConfigError: there is.
        """
        if volume in self._reasons:
            raise ConfigError(f"volume {volume} stands still: {self._reasons[volume]}")

    def check_all(self) -> None:
        """Make sure of that for every volume: what is said of all of them would leave one out.

        Raises:
            ConfigError: some stand still.
        """
        for volume in self._reasons:
            self.check(volume)

    def described(self, volume: str, path: str) -> dict[str, Any]:
        """Return the status of a volume, in the shape that all volumes have."""
        nothing = ("paths", "pending", "conflicts", "held", "journal_backlog", "bytes_fetched", "problem_count")
        none = ("problems", "living_on", "unrepresented", "unvalidated", "failed_actions", "linked_across")
        return {
            "name": volume,
            "path": path,
            "mounted": False,
            "state": "stopped",
            "reason": self._reasons[volume],
            "alarms": [],
            "progress": None,
            "underneath": {"watched": False, "reason": "", "noticed": 0, "count": 0, "changes": [], "passing": []},
            **dict.fromkeys(nothing, 0),
            **{name: [] for name in none},
        }

    async def hold(self, volume: str, connection: ControlConnection) -> None:
        """Hear a mount's process, or its parent, out, and do nothing: what it tells is in its journal, too.

        Returns when it hangs up, or when the volume is worked on. Without a connection it would knock again and again.
        """
        connection.drop_descriptors()
        begun = self._begun.setdefault(volume, trio.Event())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, connection, nursery.cancel_scope)
            await begun.wait()
            nursery.cancel_scope.cancel()


async def _listen(connection: ControlConnection, talk: trio.CancelScope) -> None:
    while (message := await connection.receive()) is not None:
        connection.drop_descriptors()  # held, they would keep a mount from ending
        if isinstance(message, Unmounted):
            await connection.send(LetGo(message.volume))
    talk.cancel()
