"""Which paths the mount notes: all of them until the daemon has said which groups there are, then those of any group.

Whether this member takes part in a group is the daemon's to know; a row too many costs it one look.
"""

from dataclasses import dataclass

from csfs.core.groups import GroupRule, Rules
from csfs.core.paths import RelPath


@dataclass(frozen=True, slots=True)
class _Volume:
    name: str
    rules: tuple[GroupRule, ...]


class NotedPaths:
    """The rules as the daemon told them last."""

    def __init__(self) -> None:
        self._rules: Rules | None = None

    def is_synced(self, path: RelPath) -> bool:
        """Return whether changes of `path` are noted."""
        return self._rules is None or self._rules.group_of(path) is not None

    def told(self, volume: str, rules: tuple[GroupRule, ...]) -> None:
        """Take the volume's groups as they are now.

        Raises:
            ValueError: a pattern is not one; what was known stays.
        """
        self._rules = Rules.compiled(_Volume(volume, rules), "")
