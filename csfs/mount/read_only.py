"""Keeps programs from changing what they must not: as a read-only file system would, but path by path.

That is what this member only receives, and what belongs to a group with a quorum while the daemon has not said lately that most
members can be reached. Whoever has a file open for writing from before keeps it: what is written to a file that is only received
is for the daemon to put back, and where most members are not there, closing it takes as long as the group says.
"""

import errno
import os
import time
from collections.abc import Mapping, Sequence

from csfs.core.groups import Group, Rules
from csfs.core.paths import RelPath, joined
from csfs.core.versions import Scope
from csfs.mount.inodes import Inodes, Name, Node

NAMES_LOOKED_AT_MAX = 10_000
DEPTH_LOOKED_AT_MAX = 64
LOOKED_AT_S_MAX = 0.05
"""Below a directory that is to be renamed, while every other program waits: with more in it, programs have to copy."""


class _Look:
    """One look at all that is in a directory, as far as there is time for it."""

    def __init__(self) -> None:
        self._names = 0
        self._ends_s = time.monotonic() + LOOKED_AT_S_MAX

    def met(self, depth: int) -> None:
        """Count a name.

        Raises:
            OSError: EXDEV, that is too much.
        """
        self._names += 1
        if self._names > NAMES_LOOKED_AT_MAX or depth > DEPTH_LOOKED_AT_MAX or time.monotonic() > self._ends_s:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


class ReadOnly:
    """What is refused at the moment. Nothing of it is asked where rules refuse nothing."""

    def __init__(self, rules: Rules, inodes: Inodes, leases: Mapping[Scope, float]) -> None:
        """`leases` says up to when, by time.monotonic, a group with a quorum may be written."""
        self._rules = rules
        self._inodes = inodes
        self._leases = leases
        self._with_quorum = rules.with_quorum()

    @staticmethod
    def is_wanted(rules: Rules) -> bool:
        """Return whether the rules refuse anything to programs of this member."""
        return bool(rules.with_quorum()) or any(map(rules.is_refusing, rules.groups))

    def _refused(self, group: Group) -> bool:
        if self._rules.is_refusing(group):
            return True
        return group in self._with_quorum and self._leases.get(group.scope, 0.0) < time.monotonic()

    def _refuses(self, path: RelPath) -> bool:
        group = self._rules.group_of(path)
        return group is not None and self._refused(group)

    def _may_refuse_below(self, path: RelPath) -> bool:
        return any(map(self._refused, self._rules.groups_below(path)))

    def check_name(self, name: Name) -> None:
        """Let a name be made, removed or given to something else.

        Raises:
            OSError: EROFS.
        """
        path = self._inodes.path_at(name)
        if path is not None and self._refuses(path):
            _refuse()

    def check_object(self, node: Node) -> None:
        """Let the content or attributes of an object be changed, which all its names show.

        Raises:
            OSError: EROFS.
        """
        if node.hidden or node.foreign:
            return
        paths = self._inodes.paths_of(node) or (self._inodes.path_of(node),)
        if any(path is not None and self._refuses(path) for path in paths):
            _refuse()

    def check_move(self, source: Name, target: Name) -> None:
        """Let the directory `source` become `target`, with all that is in it.

        Raises:
            OSError: EROFS; EXDEV where there is too much in it to be looked through.
        """
        before, after = self._inodes.path_at(source), self._inodes.path_at(target)
        paths = [path for path in (before, after) if path is not None and self._may_refuse_below(path)]
        if not paths:
            return
        directory = self._inodes.descriptor(self._inodes.node(source[0]))
        self._check_below(directory, source[1], paths, _Look())

    def _check_below(self, above: int, name: bytes, paths: Sequence[RelPath], look: _Look, depth: int = 1) -> None:
        """Check what is in the directory `name` of `above`, which is to be found at each of these paths."""
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    look.met(depth)
                    child = os.fsencode(entry.name)
                    below = [joined(path, child) for path in paths]
                    if any(map(self._refuses, below)):
                        _refuse()
                    if entry.is_dir(follow_symlinks=False):
                        self._check_below(directory, child, below, look, depth + 1)
        finally:
            os.close(directory)


def _refuse() -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
