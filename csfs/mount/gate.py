"""The commit gate: lets the daemon's commits pass only where no local change would be overwritten.

Every check and the commit that follows it happen in one step of the mount's loop, in which no handler runs. Where no program can
know the place through the kernel, the commit is made underneath; elsewhere the daemon makes the system call through the mount, so
that the kernel's caches and watchers see it, and the handler comes here, checks again and does it. Nothing done here is journalled.

What only commit threads have been looking at, the kernel believes nothing of: every program that comes there is looked up itself
(`Node.seen`), and what it finds is what is there by then. Whoever watches a place has come there.

A directory's stamp moves with everything that is made in it, also by the commits before in the same batch: of a directory, the
inode number alone is compared, and what matters of it is in rows.
"""

import contextlib
import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator

import msgspec

from csfs.core.paths import RESERVED, RelPath, checked
from csfs.mount.capture import Capture, OpenFile
from csfs.mount.displaced import Displaced
from csfs.mount.inodes import Inodes, Node
from csfs.mount.lifting import LeftOut, Lifting, without_flags
from csfs.mount.overwriting import Overwriting
from csfs.mount.places import (
    Place,
    Places,
    check_flat,
    done,
    failure,
    following,
    inode_of,
)
from csfs.mount.recent import Recent
from csfs.mount.refresh import Refresher, forget_attributes
from csfs.mount.refusals import Refusals
from csfs.mount.stamps import Stamps
from csfs.store import attributes, syscalls
from csfs.wire.control import Attributes, Commit, CommitResult, Install, Link, Move, Outcome, Overwrite, Remove

log = logging.getLogger(__name__)

HELD = "somebody waits for other members there"
"""A system call for a commit would hang until they have it, and with it all others of the volume."""

Report = Callable[[CommitResult], None]
ReadOn = Callable[[], None]


class Gate:
    """Takes commits from the daemon, one at a time, and the system calls that it makes for those it was told to make through."""

    def __init__(
        self, inodes: Inodes, capture: Capture, recent: Recent, is_held: Callable[[RelPath], bool] = lambda path: False
    ) -> None:
        """`is_held` says of a path that a call which waits for other members has its directory in the kernel."""
        self._inodes = inodes
        self._capture = capture
        self._is_held = is_held
        self._displaced = Displaced(inodes, capture)
        self.refresher = Refresher(inodes)
        self.lifting = Lifting(inodes.root, capture.rules)
        self.overwriting = Overwriting(inodes, capture, self.refresher, self.lifting.opened)
        self._stamps = Stamps()
        self._places = Places(inodes.root)
        self._refusals = Refusals(inodes, capture, recent, self._stamps, self._places, self._is_coming)
        self._threads: frozenset[int] = frozenset()
        self._stale: set[int] = set()
        """Inodes whose attributes were set underneath, and that the kernel has not asked about since."""
        self._pending: dict[RelPath, Commit] = {}
        self._stage_is_known = False
        """Whether this daemon has been led to the stage, and holds it open."""
        self._report: Report = _nobody
        self._read_on: ReadOn = _nothing

    # ------------------------------------------------------------------------------------------------------ the daemon's

    def connected(self, threads: tuple[int, ...], report: Report, read_on: ReadOn) -> None:
        """A daemon is there: its commit threads, and whom to tell what became of a commit made through the mount.

        `read_on` takes in announcements that have arrived and were not read yet.
        """
        self._threads = frozenset(threads)
        self._stage_is_known = False
        self._report = report
        self._read_on = read_on

    def disconnected(self) -> None:
        """The daemon is gone: its threads are anybody's."""
        self._threads = frozenset()
        self._pending.clear()
        self._report = _nobody
        self._read_on = _nothing
        stale, self._stale = self._stale, set()
        if stale:
            # Not in this loop: the kernel may have to wait for something that the loop has to answer.
            threading.Thread(target=forget_attributes, args=(stale,), daemon=True).start()

    def refreshed(self, node: Node) -> None:
        """The kernel has just learnt the attributes of `node`."""
        self._stale.discard(node.inode)

    def is_commit_thread(self, pid: int) -> bool:
        """Return whether a request comes from a registered commit thread."""
        return pid in self._threads

    def closed(self, file: OpenFile) -> None:
        """A handle was closed: what a commit displaced may have had its last."""
        if file.doomed and not file.handles:
            self._displaced.last_closed(file)

    def take(self, *commits: Commit) -> list[CommitResult]:
        """Check commits and carry them out, or say why not, or have the daemon make the system calls through the mount; in one step."""
        with self._places:
            return [self._taken(commit) for commit in commits]

    def _taken(self, commit: Commit) -> CommitResult:
        self._pending.pop(commit.path, None)
        try:
            checked(commit.path)
            place = self._places.at(commit.path)
            refusal = self._refusals.of(commit, place)
            if refusal is not None:
                return refusal
            if isinstance(commit.action, Overwrite):
                check_flat(commit.action.log)
                return self._overwrite(commit, commit.action, place)
            if isinstance(commit.action, Attributes):
                return self._set_attributes(commit, commit.action, place)
            if isinstance(commit.action, Link):
                if place.status is not None and place.status.st_ino == commit.action.source_expected.inode:
                    return done(commit, place)  # it is so already
                if self._is_coming(commit.action):
                    self._pending[commit.path] = commit
                    return CommitResult(commit.id, Outcome.THROUGH)
                self.lifting.stage_link(self._places, commit.action, self._stamps)
            if self._may_be_seen(commit, place):
                if self._would_hang(commit):
                    return CommitResult(commit.id, Outcome.BUSY, reason=HELD)
                self._pending[commit.path] = commit
                return CommitResult(commit.id, Outcome.THROUGH)
            return self._done(commit, place)
        except OSError as error:
            return failure(commit, error)
        except ValueError as error:
            return CommitResult(commit.id, Outcome.FAILED, error=errno.EINVAL, reason=str(error))
        except Exception as error:  # a bug: the daemon waits for an outcome of each commit
            log.exception("unexpected error at commit %d", commit.id)
            return CommitResult(commit.id, Outcome.FAILED, error=errno.EIO, reason=f"a bug in csfs: {error!r}")

    # ---------------------------------------------------------------------------------------------------------- checks

    def _is_coming(self, action: Link) -> bool:
        """Return whether what is to be linked to is not there yet, because the daemon is still to make a call for it."""
        leader = self._pending.get(action.source)
        if leader is None or not isinstance(leader.action, Install):
            return False
        staged = self._places.staged(leader.action.staged)
        return staged.status is not None and staged.status.st_ino == action.source_expected.inode

    def _stage_links_to(self, source: RelPath) -> None:
        """What was to be linked to is there now, or is not going to be: the call for each link to it follows."""
        for path, commit in list(self._pending.items()):
            if isinstance(commit.action, Link) and commit.action.source == source:
                result = self._staged(commit, commit.action)
                if result is not None:
                    del self._pending[path]
                    self._report(result)

    def _staged(self, commit: Commit, action: Link) -> CommitResult | None:
        """Stage a link that had to wait; return why not, None when it is."""
        try:
            refusal = self._refusals.of_link(commit, action, self._places.at(commit.path))
            if refusal is None:
                self.lifting.stage_link(self._places, action, self._stamps)
        except OSError as error:
            return failure(commit, error)
        return refusal

    def _would_hang(self, commit: Commit) -> bool:
        """Return whether a program that waits holds what the call for this commit locks, or what leads to the stage."""
        paths = [commit.path]
        if isinstance(commit.action, Move):
            paths.append(commit.action.source)
        elif not self._stage_is_known:
            paths.append(RelPath(RESERVED))  # the first call of a daemon looks it up
        return any(map(self._is_held, paths))

    def _may_be_seen(self, commit: Commit, place: Place) -> bool:
        """Return whether a program could notice that the commit was made underneath, or what moves is known by its name."""
        if self._is_seen_at(place):
            return True
        match commit.action:
            case Install() as install:
                return self._knows(self._places.staged(install.staged))
            case Move() as move:
                source = self._places.at(move.source)
                return self._knows(source) or self._is_seen_at(source)
        return False

    def _knows(self, place: Place) -> bool:
        return place.status is not None and self._inodes.known(place.status) is not None

    def _is_seen_at(self, place: Place) -> bool:
        if place.status is not None and self._inodes.seen(place.status):
            return True
        return self._inodes.seen(os.fstat(place.directory))

    # --------------------------------------------------------------------------------------------------------- actions

    def _done(self, commit: Commit, place: Place) -> CommitResult:
        """Make the commit underneath. All checks have passed in this same step."""
        with (
            following(place, self._stamps),
            self._following_staged(commit),
            self._unnaming(place),
            self._lifted(commit, place) as left_out,
        ):
            match commit.action:
                case Install(staged=name, kept=kept) | Link(staged=name, kept=kept):
                    staged = self._places.staged(name)
                    self._displaced.install(staged.directory, staged.name, place.directory, place.name, kept)
                case Remove() as remove:
                    self._displaced.remove(place.directory, place.name, remove.kept)
                case Move() as move:
                    source = self._places.at(move.source)
                    syscalls.renameat2(
                        source.directory, source.name, place.directory, place.name, syscalls.RENAME_NOREPLACE
                    )
        result = self._linked(commit, place) if isinstance(commit.action, Link) else done(commit, place, left_out)
        was_directory = place.status is not None and stat.S_ISDIR(place.status.st_mode)
        if was_directory or isinstance(commit.action, Move):
            self._places.forget()  # a directory may be somewhere else now, or nowhere
        return result

    @contextlib.contextmanager
    def _unnaming(self, place: Place) -> Iterator[None]:
        """What only commit threads know loses the name; nobody has it open."""
        node = self._inodes.known(place.status) if place.status is not None else None
        yield
        parent = self._inodes.known(os.fstat(place.directory)) if node is not None else None
        if node is not None and parent is not None:
            self._inodes.unnamed(node, (parent.inode, place.name))

    def _linked(self, commit: Commit, place: Place) -> CommitResult:
        """Return that another name was made; where programs know the object, the kernel has to learn how many there are."""
        status = place.now()
        node = self._inodes.known(status) if status is not None else None
        is_seen = node is not None and node.seen
        if node is not None and is_seen:
            self._stale.add(node.inode)
        return msgspec.structs.replace(done(commit, place), refresh=is_seen)

    def _set_attributes(self, commit: Commit, action: Attributes, place: Place) -> CommitResult:
        if place.status is None:
            raise FileNotFoundError(errno.ENOENT, "nothing there whose attributes could be set")
        node = self._inodes.known(place.status)
        # Of what programs do not know, the kernel has nothing cached but, perhaps, an ACL that let a commit thread pass. Who watches a
        # directory that they know is told of what is in it, whether they know that or not.
        is_cached = node is not None and (node.seen or action.xattrs is not None)
        refresh = is_cached or self._is_seen_at(place)
        if refresh and self._is_held(commit.path):
            return CommitResult(commit.id, Outcome.BUSY, reason=HELD)
        if node is not None:
            node.no_capability = False
        if node is not None and refresh:
            self._stale.add(node.inode)
        xattrs, removed = without_flags(action)
        with following(place, self._stamps), self._lifted(commit, place) as flags_left_out:
            _, left_out = attributes.set_attributes(
                place.directory,
                place.name,
                action.mode,
                action.uid,
                action.gid,
                action.mtime_ns,
                xattrs,
                removed,
            )
        return msgspec.structs.replace(done(commit, place, (*left_out, *flags_left_out)), refresh=refresh)

    def _overwrite(self, commit: Commit, action: Overwrite, place: Place) -> CommitResult:
        with self.lifting.lifted_at(place):
            result = self.overwriting.take(commit, action, place.directory, place.name)
        return result if result.stamp is None else msgspec.structs.replace(result, stamp=place.stamp())

    # ------------------------------------------------------------------------------------------- through the kernel

    def renamed_through(self, source: Node, old: bytes, target: Node, new: bytes) -> None:
        """A commit thread renames: an announced Install or Move, or nothing at all.

        Raises:
            OSError: EPERM for what nobody announced, EAGAIN when the commit is refused now; the daemon gets the outcome apart.
        """
        path = self._inodes.path_at((target.inode, new))
        commit = self._announced(path)
        if commit is None or path is None:
            raise PermissionError(errno.EPERM, "no such commit was announced")
        action = commit.action
        if isinstance(action, Install | Link):
            self._stage_is_known |= source.hidden
            matches = source.hidden and old == action.staged
        else:
            matches = isinstance(action, Move) and self._inodes.path_at((source.inode, old)) == action.source
        if not matches:
            raise PermissionError(errno.EPERM, "another commit was announced")
        self._through(commit, lambda place: self._rename_through(commit, place, (source, old), (target, new)))

    def _rename_through(
        self, commit: Commit, place: Place, source: tuple[Node, bytes], target: tuple[Node, bytes]
    ) -> None:
        origin = self._inodes.descriptor(source[0])
        moved = self._inodes.known(os.stat(source[1], dir_fd=origin, follow_symlinks=False))
        if isinstance(commit.action, Install | Link):
            displaced = self._inodes.known(place.status) if place.status is not None else None
            name = (target[0].inode, target[1])
            with self._displaced.watched(
                displaced, name, commit.action.kept, place.path, commit.id, inode_of(place) > 0
            ) as kept:
                self._displaced.install(origin, source[1], place.directory, place.name, kept)
        else:
            syscalls.renameat2(origin, source[1], place.directory, place.name, syscalls.RENAME_NOREPLACE)
        if moved is not None:
            self._inodes.renamed(moved, (source[0].inode, source[1]), (target[0].inode, target[1]))
            moved.hidden = False
            if moved.seen:
                self._inodes.reached(target[0])

    def _announced(self, path: RelPath | None) -> Commit | None:
        """Return the commit of `path` that was to be made through the kernel; it may have been announced just now."""
        if path is None:
            return None
        if path not in self._pending:
            self._read_on()
        return self._pending.get(path)

    def unlinked_through(self, parent: Node, name: bytes) -> None:
        """A commit thread removes: an announced Remove, or nothing at all. Raises like `renamed_through`."""
        path = self._inodes.path_at((parent.inode, name))
        commit = self._announced(path)
        if commit is None or not isinstance(commit.action, Remove):
            raise PermissionError(errno.EPERM, "no such commit was announced")
        kept = commit.action.kept
        self._through(commit, lambda place: self._remove_through(commit, place, (parent.inode, name), kept))

    def _remove_through(self, commit: Commit, place: Place, name: tuple[int, bytes], kept: bytes) -> None:
        node = self._inodes.known(place.status) if place.status is not None else None
        with self._displaced.watched(node, name, kept, place.path, commit.id, inode_of(place) > 0) as kept_now:
            self._displaced.remove(place.directory, place.name, kept_now)

    def _following_staged(self, commit: Commit) -> contextlib.AbstractContextManager[None]:
        if not isinstance(commit.action, Link):
            return contextlib.nullcontext()
        return following(self._places.staged(commit.action.staged), self._stamps)

    def _lifted(self, commit: Commit, place: Place) -> contextlib.AbstractContextManager[LeftOut]:
        return self.lifting.lifted(commit, place, self._places)

    def _through(self, commit: Commit, act: Callable[[Place], None]) -> None:
        """Check once more, act, and report the outcome; an errno for the system call when it was not done."""
        del self._pending[commit.path]
        with self._places:
            try:
                self._made_through(commit, act)
            finally:
                self._places.forget()
                self._stage_links_to(commit.path)

    def _made_through(self, commit: Commit, act: Callable[[Place], None]) -> None:
        try:
            place = self._places.at(commit.path)
            result = self._refusals.of(commit, place)
            if result is None:
                with (
                    following(place, self._stamps),
                    self._following_staged(commit),
                    self._lifted(commit, place) as left_out,
                ):
                    act(place)
                result = done(commit, place, left_out)
        except OSError as error:
            self._report(failure(commit, error))
            raise
        self._report(result)
        if result.outcome != Outcome.DONE:
            raise OSError(errno.EAGAIN, result.reason)


def _nobody(result: CommitResult) -> None:
    """Nobody is there to be told."""


def _nothing() -> None:
    """There is nothing to read."""
