"""What this host, or its file system, cannot show of what is live: attributes that it refuses."""

from collections.abc import Sequence

from csfs.core.paths import RelPath

PATHS_MAX = 1_000
"""Of a tree on a file system that takes no attributes at all, some examples say enough."""


class Shortcomings:
    """What could not be represented of objects that were installed since the daemon began, by path."""

    def __init__(self) -> None:
        self.by_path: dict[RelPath, tuple[str, ...]] = {}
        self.undressed: set[RelPath] = set()
        """Paths of which this host may by now show more of what it was to show (`replicate.strangers`)."""

    def installed(self, path: RelPath, problems: Sequence[str]) -> None:
        """An object was installed; `problems` are what was refused, a few words each, and none as a rule."""
        self.undressed.discard(path)
        if not problems:
            self.by_path.pop(path, None)
        elif path in self.by_path or len(self.by_path) < PATHS_MAX:
            self.by_path[path] = tuple(problems)

    def gone(self, path: RelPath) -> None:
        """Nothing is there any more."""
        self.undressed.discard(path)
        self.by_path.pop(path, None)
