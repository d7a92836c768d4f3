"""Keeps programs from changing what they must not: as a read-only file system would, but path by path.

Whoever has a file open for writing from before keeps it: what is written there is for the daemon to put back.
"""

import errno
import os

from csfs.core.groups import Rules
from csfs.core.paths import RelPath
from csfs.mount.inodes import Inodes, Name, Node

NAMES_LOOKED_AT_MAX = 10_000
"""Below a directory that is to be renamed, some milliseconds of the loop: with more in it, programs have to copy."""


class ReadOnly:
    """What the rules refuse. Nothing of it is asked where they refuse nothing."""

    def __init__(self, rules: Rules, inodes: Inodes) -> None:
        self._rules = rules
        self._inodes = inodes

    def check_name(self, name: Name) -> None:
        """Let a name be made, removed or given to something else.

        Raises:
            OSError: EROFS.
        """
        path = self._inodes.path_at(name)
        if path is not None and self._rules.refuses(path):
            _refuse()

    def check_object(self, node: Node) -> None:
        """Let the content or attributes of an object be changed, which all its names show.

        Raises:
            OSError: EROFS.
        """
        if node.hidden or node.foreign:
            return
        paths = self._inodes.paths_of(node) or (self._inodes.path_of(node),)
        if any(path is not None and self._rules.refuses(path) for path in paths):
            _refuse()

    def check_move(self, source: Name, target: Name) -> None:
        """Let the directory `source` become `target`, with all that is in it.

        Raises:
            OSError: EROFS; EXDEV where there is too much in it to be looked through.
        """
        before, after = self._inodes.path_at(source), self._inodes.path_at(target)
        paths = [path for path in (before, after) if path is not None and self._rules.may_refuse_below(path)]
        if not paths:
            return
        directory, top = self._inodes.descriptor(self._inodes.node(source[0])), source[1]
        count = 0
        for above, directories, files, _ in os.fwalk(top, dir_fd=directory):
            for name in (*directories, *files):
                below = above[len(top) :] + b"/" + name
                if any(self._rules.refuses(RelPath(path + below)) for path in paths):
                    _refuse()
            count += len(directories) + len(files)
            if count > NAMES_LOOKED_AT_MAX:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def _refuse() -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
