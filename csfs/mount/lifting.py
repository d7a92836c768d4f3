"""Flags that forbid a commit (chattr +i, +a): taken away for the one step in which it is made, and put on last.

Where they are kept the same (`flags` of a group), that an object has them says nothing against a peer's version; no program gets in
between. Which flags are to be where in the end is noted first, as the target of a symlink in the reserved directory: it is made, and
gone, in one call each, and on the disk in the order of calls, as names are. A mount process that finds one puts on what is missing,
before it serves.

A note has words, `WHAT=FLAGS`, and then the path: a number is the inode of what may be there by then, after `^` that of its directory,
and `@` with a handle is something that has other names.
"""

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from csfs.core.objects import Xattrs
from csfs.core.paths import RESERVED, ROOT, RelPath, parent_of, shown
from csfs.core.treatment import FLAGS
from csfs.mount import syscalls
from csfs.mount.half_done import LIFTED
from csfs.mount.places import Place, Places
from csfs.mount.rules import SyncedRules
from csfs.mount.stamps import Stamps
from csfs.store.attributes import stamp_of
from csfs.store.beneath import ABSENT, open_in_pieces
from csfs.store.flags import NONE, POSSIBLE, UNKNOWN, flags_of, put
from csfs.wire import control
from csfs.wire.control import Attributes, Commit, Install, Link, Remove

log = logging.getLogger(__name__)

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ABOVE: Final = b"^"
_ANYWHERE: Final = b"@"
_PATH: Final = b" /"

LeftOut = list[tuple[bytes, int]]


class _Held(NamedTuple):
    """An object of a step, open for reading: the flags that it has, those that it is to have afterwards, and its word in the note."""

    descriptor: int
    before: bytes
    after: bytes
    word: bytes


class Lifting:
    """Lifts flags beneath the descriptor `root`, for one step of the mount's loop at a time."""

    def __init__(self, root: int, rules: SyncedRules) -> None:
        self._root = root
        self._rules = rules

    def lifted(self, commit: Commit, place: Place, places: Places) -> AbstractContextManager[LeftOut]:
        """Let a commit be made at `place`, one of `places`. Gives a list of flags that, in the end, could not be put on.

        Entering it raises OSError where they cannot be lifted; nothing has changed then.
        """
        path, action = commit.path, commit.action
        if self._lifts(path) or self._lifts(parent_of(path)) or _wished(commit) is not None:
            return self._lifted(commit, place, places)
        if isinstance(action, Link) and self._lifts(action.source):
            return self._lifted(commit, place, places)
        return contextlib.nullcontext([])

    @contextlib.contextmanager
    def _lifted(self, commit: Commit, place: Place, places: Places) -> Iterator[LeftOut]:
        left_out: LeftOut = []
        wished = _wished(commit)
        if wished and wished not in POSSIBLE:
            left_out.append((FLAGS, errno.EINVAL))
        elif wished and not _may_have_flags(self._object_of(commit, place, places)):
            left_out.append((FLAGS, errno.EOPNOTSUPP))
        with contextlib.ExitStack() as opened:
            held = [one for one in self._held(commit, place, places, opened) if one.before or one.after]
            with self._step(commit.path, held, left_out) if held else contextlib.nullcontext():
                yield left_out

    @contextlib.contextmanager
    def lifted_at(self, place: Place) -> Iterator[None]:
        """Let something be done to what is there, which keeps its name and its flags."""
        with contextlib.ExitStack() as opened:
            held = self._object(place, opened)
            with self._step(place.path, [held], []) if held is not None and held.before else contextlib.nullcontext():
                yield

    def stage_link(self, places: Places, action: Link, stamps: Stamps) -> None:
        """Give what is linked to its new name, in the stage still."""
        source, stage = places.at(action.source), places.staged(action.staged)
        with self.lifted_at(source):
            os.link(
                source.name, stage.name, src_dir_fd=source.directory, dst_dir_fd=stage.directory, follow_symlinks=False
            )
        before, after = source.status, source.stamp()
        if before is not None and after is not None:
            stamps.note(stamp_of(before), after)

    @contextlib.contextmanager
    def opened(self, path: RelPath) -> Iterator[int]:
        """Hold a file open for reading and writing, whatever its flags are and the rules say: what was begun has to be finished."""
        descriptor = open_in_pieces(self._root, path, _OPEN)
        try:
            flags = flags_of(descriptor)
            held = _Held(descriptor, flags, flags, b"%d=%s" % (os.fstat(descriptor).st_ino, flags))
            with self._step(path, [held], []) if flags else contextlib.nullcontext():
                writing = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    yield writing
                finally:
                    os.close(writing)
        finally:
            os.close(descriptor)

    def recover(self, told: Callable[[str], None]) -> None:
        """Put on what a mount process that was killed has left off, and clear from the stage what its flags keep there.

        Nobody may be using the directory. What cannot be done now is told, and keeps nobody from serving it.
        """
        for step in (self._put_on_noted, self._clear_stage):
            try:
                step(told)
            except (FileNotFoundError, NotADirectoryError):
                pass  # nothing was ever replicated here
            except OSError as error:
                told(f"flags that may have been taken away are not put on: {error}")

    # ---------------------------------------------------------------------------------------------- what has flags

    def _held(self, commit: Commit, place: Place, places: Places, opened: contextlib.ExitStack) -> Iterator[_Held]:
        action, found = commit.action, list[_Held | None]()
        if isinstance(action, Attributes):
            found.append(self._object(place, opened, _wanted(action)))
        elif isinstance(action, Install | Link | Remove):
            found += [self._above(place, opened), self._displaced(place, opened)]
            if not isinstance(action, Remove):
                found.append(self._coming(action, self._object_of(commit, place, places), opened))
        return (one for one in found if one is not None)

    def _object_of(self, commit: Commit, place: Place, places: Places) -> Place:
        """Return where what is live at the path in the end is now."""
        return places.staged(commit.action.staged) if isinstance(commit.action, Install | Link) else place

    def _lifts(self, path: RelPath) -> bool:
        return self._rules.treatment_of(path).flags and self._rules.is_synced(path)

    def _above(self, place: Place, opened: contextlib.ExitStack) -> _Held | None:
        """Return the directory of a place, if it has flags."""
        if place.path == ROOT or not self._lifts(parent_of(place.path)):
            return None
        flags = flags_of(place.directory)
        if not flags:
            return None
        descriptor = os.open(".", _OPEN | os.O_DIRECTORY, dir_fd=place.directory)
        opened.callback(os.close, descriptor)
        return _Held(descriptor, flags, flags, b"%s%d=%s" % (_ABOVE, os.fstat(descriptor).st_ino, flags))

    def _object(self, place: Place, opened: contextlib.ExitStack, wanted: bytes | None = None) -> _Held | None:
        """Return what keeps its name; `wanted` are the flags that it gets, None: those that it has."""
        held = _opened(place, opened) if wanted is not None or self._lifts(place.path) else None
        if held is None:
            return None
        after = held.before if wanted is None else _possible(wanted)
        return held._replace(after=after, word=_at(place, after))

    def _displaced(self, place: Place, opened: contextlib.ExitStack) -> _Held | None:
        """Return what loses its name. By other ones it keeps its flags; what has none can be kept in the store, and goes one day."""
        held = _opened(place, opened) if self._lifts(place.path) else None
        if held is None or not held.before:
            return None
        if _has_others(place):
            return held._replace(word=_anywhere(place, held.before))
        return held._replace(after=NONE, word=_at(place, held.before))

    def _coming(self, action: Install | Link, staged: Place, opened: contextlib.ExitStack) -> _Held | None:
        """Return what comes to a place: another name of what may have flags, or what gets some."""
        if isinstance(action, Link):
            held = _opened(staged, opened) if self._lifts(action.source) else None
            return held._replace(word=_anywhere(staged, held.before)) if held is not None and held.before else None
        flags = _possible(action.flags)
        held = _opened(staged, opened) if flags else None
        return held._replace(after=flags, word=_at(staged, flags)) if held is not None else None

    # -------------------------------------------------------------------------------------------------------- a step

    @contextlib.contextmanager
    def _step(self, path: RelPath, held: Sequence[_Held], left_out: LeftOut) -> Iterator[None]:
        with self._reserved() as reserved:
            self._note(reserved, b" ".join(one.word for one in held) + _PATH + path)
            is_as_noted = False
            try:
                try:
                    for one in held:
                        if one.before:
                            put(one.descriptor, NONE)
                    yield
                except BaseException:
                    is_as_noted = _put_back(path, held)
                    raise
                is_as_noted = _put_on(path, held, left_out)
            finally:
                if is_as_noted:
                    os.unlink(LIFTED, dir_fd=reserved)

    def _note(self, reserved: int, text: bytes) -> None:
        """Raises OSError: ENAMETOOLONG for a path that no note can tell of, and ENOSPC."""
        try:
            os.symlink(text, LIFTED, dir_fd=reserved)
        except FileExistsError:
            self._put_on_noted(log.warning)  # something could not be put on the last time
            os.symlink(text, LIFTED, dir_fd=reserved)

    @contextlib.contextmanager
    def _reserved(self) -> Iterator[int]:
        """Hold the reserved directory. What somebody else has put there in its place is not believed."""
        descriptor = open_in_pieces(self._root, RESERVED, os.O_PATH | os.O_DIRECTORY)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "the reserved directory is somebody else's")
            yield descriptor
        finally:
            os.close(descriptor)

    # -------------------------------------------------------------------------------------------------- after a kill

    def _put_on_noted(self, told: Callable[[str], None]) -> None:
        with self._reserved() as reserved:
            try:
                words, _, path = os.readlink(LIFTED, dir_fd=reserved).partition(_PATH)
            except FileNotFoundError:
                return
            problem: Exception | None = None
            for word in words.split():
                try:
                    self._put_on_word(RelPath(path), *word.split(b"="))
                except (OSError, ValueError, TypeError) as error:
                    problem = error
            if problem is not None:
                told(f"{shown(path)}: flags not put on: {problem}")
                return
            told(f"{shown(path)}: flags put on that a commit had taken away when it was cut short")
            os.unlink(LIFTED, dir_fd=reserved)

    def _put_on_word(self, path: RelPath, what: bytes, flags: bytes) -> None:
        try:
            descriptor = self._opened_noted(path, what)
        except OSError as error:
            if error.errno in (*ABSENT, errno.ESTALE):
                return  # it is gone: nobody misses its flags
            raise
        if descriptor is None:
            return
        try:
            if not flags_of(descriptor):  # or they are those that it is to have, or somebody has set others since
                put(descriptor, flags)
        finally:
            os.close(descriptor)

    def _opened_noted(self, path: RelPath, what: bytes) -> int | None:
        """Open what a word of a note for a path tells of; None if something else is there now, which may be anything."""
        if what.startswith(_ANYWHERE):
            return syscalls.open_by_handle(self._root, bytes.fromhex(what[len(_ANYWHERE) :].decode()), _OPEN)
        where = parent_of(path) if what.startswith(_ABOVE) else path
        found = open_in_pieces(self._root, where, os.O_PATH | os.O_NOFOLLOW)
        try:
            status = os.fstat(found)
            if status.st_ino != int(what.removeprefix(_ABOVE)) or not _is_of_kind(status):
                return None
            return os.open(f"/proc/self/fd/{found}", _OPEN & ~os.O_NOFOLLOW)
        finally:
            os.close(found)

    def _clear_stage(self, told: Callable[[str], None]) -> None:
        """Leave nothing in the stage that has flags: the daemon could do nothing with it."""
        directory = open_in_pieces(self._root, control.STAGE, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in map(os.fsencode, os.listdir(directory)):
                place = Place(directory, RelPath(control.STAGE + b"/" + name))
                try:
                    self._clear(place)
                except OSError as error:
                    told(f"{shown(place.path)}: its flags forbid that anything is done with it: {error}")
        finally:
            os.close(directory)

    def _clear(self, place: Place) -> None:
        """Take from something in the stage this name if it has other ones, else its flags."""
        with contextlib.ExitStack() as opened:
            held = _opened(place, opened)
            if held is None or not held.before:
                return
            if not _has_others(place):
                put(held.descriptor, NONE)
                return
            held = held._replace(word=_anywhere(place, held.before))
            with self._step(place.path, [held], []):
                os.unlink(place.name, dir_fd=place.directory)


def without_flags(action: Attributes) -> tuple[Xattrs | None, tuple[bytes, ...]]:
    """Return the xattrs to be set, and the names of those that go, but for flags."""
    xattrs = action.xattrs and tuple(pair for pair in action.xattrs if pair[0] != FLAGS)
    return xattrs, tuple(name for name in action.removed if name != FLAGS)


def _wanted(action: Attributes) -> bytes | None:
    """Return the flags that an object is to have, None for those that it has."""
    return dict(action.xattrs or ()).get(FLAGS, NONE if FLAGS in action.removed else None)


def _possible(flags: bytes) -> bytes:
    """Return flags that were told by a peer; none if that are no flags: they get into a note."""
    return flags if flags in POSSIBLE else NONE


def _wished(commit: Commit) -> bytes | None:
    """Return the flags that a commit is to give."""
    match commit.action:
        case Attributes() as action:
            return _wanted(action)
        case Install(flags=flags) if flags:
            return flags
        case _:
            return None


def _opened(place: Place, opened: contextlib.ExitStack) -> _Held | None:
    """Open what may have flags. None for nothing, and for what never has any."""
    if not _may_have_flags(place):
        return None
    descriptor = os.open(place.name, _OPEN, dir_fd=place.directory)
    opened.callback(os.close, descriptor)
    flags = flags_of(descriptor)
    return _Held(descriptor, flags, flags, b"")


def _may_have_flags(place: Place) -> bool:
    """Return whether there is a file or a directory: nothing else is opened, and has flags."""
    return place.status is not None and _is_of_kind(place.status)


def _is_of_kind(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def _has_others(place: Place) -> bool:
    """Return whether a file has other names."""
    status = place.status
    return status is not None and status.st_nlink > 1 and stat.S_ISREG(status.st_mode)


def _at(place: Place, flags: bytes) -> bytes:
    assert place.status is not None
    return b"%d=%s" % (place.status.st_ino, flags)


def _anywhere(place: Place, flags: bytes) -> bytes:
    handle = syscalls.handle_at(place.directory, place.name)
    return b"%s%s=%s" % (_ANYWHERE, handle.hex().encode(), flags)


def _put_on(path: RelPath, held: Sequence[_Held], left_out: LeftOut) -> bool:
    """Put on what each object is to have; return whether nothing is left to do."""
    is_done = True
    for one in held:
        try:
            put(one.descriptor, one.after)
        except OSError as error:
            if one.after != one.before and error.errno in UNKNOWN:
                left_out.append((FLAGS, error.errno))
            else:
                is_done = _complain(path, error)
    return is_done


def _put_back(path: RelPath, held: Sequence[_Held]) -> bool:
    """Put on what each object had; return whether nothing is left to do."""
    is_done = True
    for one in held:
        try:
            put(one.descriptor, one.before)
        except OSError as error:
            is_done = _complain(path, error) if one.before else is_done
    return is_done


def _complain(path: RelPath, error: OSError) -> bool:
    log.error("%s: flags not put back yet: %s", shown(path), error)
    return False
