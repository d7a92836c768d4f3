"""What a simulated member does not follow: it stays as its own programs leave it, and nobody else hears of it (R11)."""

from collections.abc import Callable, Iterable
from copy import copy

from csfs.core.paths import RelPath
from scripts.simulation.tree import FakeTree, Node


class Outside:
    """What is at such paths since the rules left them, or a program changed them. `follows` is asked of a path."""

    def __init__(self) -> None:
        self.follows: Callable[[RelPath], bool] = lambda path: True
        self.left: dict[RelPath, Node | None] = {}
        """By path, what has to be there; None: nothing."""
        self.alone: set[bytes] = set()
        """Contents that were written there, and have not come to a path that is followed."""

    def adopted(self, tree: FakeTree, followed: Callable[[RelPath], bool]) -> None:
        """The rules have changed; `followed` says what was followed before."""
        self.left = {path: node for path, node in self.left.items() if not self.follows(path)}
        for path, node in tree.nodes.items():
            if self.follows(path):
                self.alone.discard(node.data)
            elif followed(path):
                self.left[path] = copy(node)

    def changed(self, names: Iterable[RelPath], node: Node | None) -> None:
        """A program has changed what has these names, or put it there; None: it has taken it away."""
        for name in names:
            if not self.follows(name):
                self.left[name] = copy(node)
            elif node is not None:
                self.alone.discard(node.data)

    def wrote(self, data: bytes, names: Iterable[RelPath]) -> None:
        """A program has written a new content into what has these names."""
        if not any(self.follows(name) for name in names):
            self.alone.add(data)

    def forget(self) -> None:
        """The member was set back to another time."""
        self.left.clear()
        self.alone.clear()
