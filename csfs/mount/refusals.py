"""Why a commit must not be made now: somebody here was faster, or has bytes that no row tells yet."""

import errno
import os
import stat
from collections.abc import Callable

from csfs.core.paths import checked
from csfs.mount.capture import Capture
from csfs.mount.inodes import Inodes
from csfs.mount.places import Place, Places, check_flat, inode_of, is_same_content
from csfs.mount.recent import Recent
from csfs.mount.stamps import Stamps
from csfs.store import attributes
from csfs.wire.control import Attributes, Commit, CommitResult, Install, Link, Move, Outcome, Overwrite


class Refusals:
    """Checks commits. `is_coming`: what a link leads to is not there yet, because the daemon is still to make a call for it."""

    def __init__(
        self,
        inodes: Inodes,
        capture: Capture,
        recent: Recent,
        stamps: Stamps,
        places: Places,
        is_coming: Callable[[Link], bool],
    ) -> None:
        self._inodes = inodes
        self._capture = capture
        self._recent = recent
        self._stamps = stamps
        self._places = places
        self._is_coming = is_coming

    def of(self, commit: Commit, place: Place) -> CommitResult | None:
        """Return why a commit must not be made now, None when it may.

        Raises:
            OSError: what is there can never be replaced so.
        """
        action = commit.action
        found = attributes.stamp_of(place.status) if place.status is not None else None
        with_below = not isinstance(action, Attributes | Overwrite)
        if self._recent.changed(commit.path, commit.digested, with_below, inode_of(place)):
            return CommitResult(commit.id, Outcome.REFUSED, found, reason="changed here meanwhile")
        if not place.shows(commit.expected, self._stamps):
            return CommitResult(commit.id, Outcome.REFUSED, found, reason="not as expected")
        if place.status is not None and self._is_busy(place.status):
            return CommitResult(commit.id, Outcome.BUSY, found, reason="open, with data not told yet")
        if isinstance(action, Move):
            return self._of_move(commit, action)
        if isinstance(action, Link):
            return self.of_link(commit, action, place)
        if isinstance(action, Install):
            self._check_install(action, place)
        return None

    def _of_move(self, commit: Commit, action: Move) -> CommitResult | None:
        checked(action.source)
        source = self._places.at(action.source)
        found = attributes.stamp_of(source.status) if source.status is not None else None
        if self._recent.changed(action.source, commit.digested, with_below=True):
            return CommitResult(commit.id, Outcome.REFUSED, found, reason="source changed here meanwhile")
        if source.status is None or not source.shows(action.source_expected, self._stamps):
            return CommitResult(commit.id, Outcome.REFUSED, found, reason="source not as expected")
        if self._is_busy(source.status):
            return CommitResult(commit.id, Outcome.BUSY, found, reason="source is open, with data not told yet")
        return None

    def of_link(self, commit: Commit, action: Link, place: Place) -> CommitResult | None:
        """What is linked to is not replaced: that it is the same content is enough."""
        checked(action.source)
        check_flat(action.staged)
        if self._is_coming(action):
            return None
        if place.status is not None and stat.S_ISDIR(place.status.st_mode):
            raise OSError(errno.EISDIR, "a directory is there; it has to be removed first")
        source = self._places.at(action.source)
        found = attributes.stamp_of(source.status) if source.status is not None else None
        if self._recent.changed(action.source, commit.digested, False, inode_of(source)):
            return CommitResult(commit.id, Outcome.REFUSED, found, reason="source changed here meanwhile")
        if source.status is None or found is None or not is_same_content(found, action.source_expected):
            return CommitResult(commit.id, Outcome.REFUSED, found, reason="source not as expected")
        if self._is_busy(source.status):
            return CommitResult(commit.id, Outcome.BUSY, found, reason="source is open, with data not told yet")
        return None

    def _check_install(self, action: Install, place: Place) -> None:
        check_flat(action.staged)
        if place.status is None:
            return
        if stat.S_ISDIR(place.status.st_mode):
            raise OSError(errno.EISDIR, "a directory is there; it has to be removed first")
        staged = self._places.staged(action.staged)
        if staged.status is not None and stat.S_ISDIR(staged.status.st_mode):
            raise OSError(errno.ENOTDIR, "a directory is installed only where nothing is")

    def _is_busy(self, status: os.stat_result) -> bool:
        node = self._inodes.known(status)
        return node is not None and self._capture.has_untold(node)
