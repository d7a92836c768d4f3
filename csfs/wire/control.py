"""Messages on the daemon's control socket: from a mount's parent, from a mount, from the command line.

Every connection opens with one message that says who speaks (`ParentHello`, `MountHello` or a request of the command line).
Frames are a four-byte big-endian length and one msgpack message; see `codec`. Root alone may connect.
"""

import enum
from collections.abc import Callable
from typing import Any

import msgspec

import csfs
from csfs.core.changes import Change
from csfs.core.objects import LeftOut, Stamp, Xattrs
from csfs.core.paths import RelPath
from csfs.core.versions import Scope
from csfs.errors import CsfsError

STAGE = b".csfs/stage"
KEPT = b".csfs/kept"


class Tagged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all messages: the class name is the tag."""


# ---------------------------------------------------------------------------------------------- a mount's parent → daemon


class ParentHello(Tagged, frozen=True):
    """Comes with two descriptors (SCM_RIGHTS): the cloned mount's root and the root underneath.

    Sent after every (re)mount, and again after every reconnect. `generation` counts the mounts that this parent made.
    """

    volume: str
    path: bytes
    parent_pid: int
    mount_pid: int
    generation: int


class ParentWelcome(Tagged, frozen=True):
    """The daemon holds the descriptors."""


class Unmounted(Tagged, frozen=True):
    """The host unmounted the volume: let go of both descriptors. Answered by `LetGo` once no commit is under way."""

    volume: str


class LetGo(Tagged, frozen=True):
    """The daemon holds nothing of the volume any more."""

    volume: str


# ------------------------------------------------------------------------------------------------------- mount ↔ daemon


class MountHello(Tagged, frozen=True):
    """A mount process: what its journal holds. `clean` is False when rows may be missing: compare the whole volume.

    `can_wait`: it can have programs wait for other members.
    `cut`: the host went down while the volume was mounted, before this boot: not all that differs was done by somebody (R24).
    """

    volume: str
    pid: int
    journal: bytes
    first: int
    last: int
    clean: bool
    cut: bool = False
    can_wait: bool = True


class MountWelcome(Tagged, frozen=True):
    """The daemon's answer: rows up to `digested` are taken care of; send live rows after `last` of the hello.

    `threads` are the daemon's commit threads (thread ids), which alone may see the reserved directory. Sent again when the
    configuration has changed: the mount then reads anew what it is to note.
    """

    digested: int
    threads: tuple[int, ...]


class Rows(Tagged, frozen=True):
    """Changes as they happen, ascending and without gaps; the daemon never hears of a row that was not appended."""

    changes: tuple[Change, ...]


class Behind(Tagged, frozen=True):
    """The daemon did not keep up: rows up to `last` are in the journal only; live rows go on after it."""

    last: int


class JournalTrouble(Tagged, frozen=True):
    """The mount's journal cannot be written, and why; empty: it can be, again. Rows go on being told."""

    reason: str


class Digested(Tagged, frozen=True):
    """Rows up to `sequence` are in the index and may be pruned."""

    sequence: int


class Flush(Tagged, frozen=True):
    """Send every row so far, then answer `Flushed` with the last sequence. `written`: also of files that are not closed yet."""

    token: int
    written: bool = True


class Flushed(Tagged, frozen=True):
    token: int
    sequence: int


class Install(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Make the staged object live at the path. What was there goes to `kept` in the kept store, or away if `kept` is empty.

    `staged` is a name in the stage: `<digested>.<id>`. A directory is installed only where nothing is. `flags` are put on last.
    """

    staged: bytes
    kept: bytes = b""
    flags: bytes = b""


class Link(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Make the path another name of what is live at `source`, which must be of the inode, size and mtime of `source_expected`.

    What was there goes where `Install` has it go; the new name comes by way of `staged`, a name in the stage.
    """

    source: RelPath
    source_expected: Stamp
    staged: bytes
    kept: bytes = b""


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Take the object away; a file goes to `kept` in the kept store if that is not empty. A directory must be empty."""

    kept: bytes = b""


class Overwrite(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Carry out the redo log of that name in the stage: parts of the file are overwritten where it is, if nobody has it open."""

    log: bytes


class Attributes(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Set attributes in place, all in one step. None leaves a field alone; `removed` are names of xattrs that go.

    Flags are among the xattrs, as `treatment.FLAGS`, and set last.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    xattrs: Xattrs | None = None
    removed: tuple[bytes, ...] = ()


class Move(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Rename `source`, which must show `source_expected`, to the path, where nothing may be."""

    source: RelPath
    source_expected: Stamp


Action = Install | Link | Remove | Overwrite | Attributes | Move


class Commit(msgspec.Struct, frozen=True, array_like=True):
    """One announced step. `expected` is the stamp that the path must show in the same step; None: nothing may be there.

    `id` is unique in the life of one daemon. `digested` is the sequence up to which the daemon had taken rows into account
    when it decided.
    """

    id: int
    digested: int
    path: RelPath
    expected: Stamp | None
    action: Action


class Commits(Tagged, frozen=True):
    """A batch of commits, in order: parents before children, removals last."""

    commits: tuple[Commit, ...]


class Outcome(enum.IntEnum):
    """What became of a commit."""

    DONE = 0
    THROUGH = 1
    """The kernel knows the object or its parent: the daemon has to make the system call through the mount; the outcome follows."""
    REFUSED = 2
    """Something changed that the daemon had not taken into account: look again and decide anew."""
    BUSY = 3
    """Somebody has unwritten data in it: a row follows when it is written."""
    FAILED = 4
    """The directory underneath refused; `error` is its errno."""


class CommitResult(msgspec.Struct, frozen=True, array_like=True):
    """`stamp` is what the path shows after DONE (None: nothing), or what was found when REFUSED; `links` how many names that has.

    `refresh` with DONE: the kernel has the old attributes cached; a chmod through the mount makes it ask. `left_out` with DONE: xattrs
    that were to be set, and that the object does not have now.
    """

    id: int
    outcome: Outcome
    stamp: Stamp | None = None
    error: int = 0
    reason: str = ""
    refresh: bool = False
    links: int = 1
    left_out: LeftOut = ()


class CommitResults(Tagged, frozen=True):
    results: tuple[CommitResult, ...]


class Stale(msgspec.Struct, frozen=True, array_like=True):
    """A path that somebody changed without the mount. `inode` is what was known to be there, 0 for nothing.

    `named`: the name may stand for something else than it did.
    """

    path: RelPath
    inode: int
    named: bool


class Refresh(Tagged, frozen=True):
    """Have the kernel ask anew about these paths; answered by `Refreshed` once it is going to."""

    token: int
    stale: tuple[Stale, ...]


class Refreshed(Tagged, frozen=True):
    """`renamed` are those of the paths whose object the kernel knows by another name, as places in `stale`.

    The mount learns the new name when somebody looks it up: the daemon does so through its clone.
    """

    token: int
    renamed: tuple[int, ...]


class Secure(Tagged, frozen=True):
    """A program waits until enough members have what it changed at `paths`, by rows up to `sequence`; answered by `Secured`.

    `moved`: names were given to other objects, so what is below the paths counts as well. Sent again on each connection until it is
    answered. `overdue`: the program does not wait any longer.
    """

    token: int
    sequence: int
    paths: tuple[RelPath, ...]
    moved: bool
    overdue: bool


class Secured(Tagged, frozen=True):
    token: int


class Leases(Tagged, frozen=True):
    """Up to when groups with a quorum may be written here, by the host's monotonic clock in seconds; others must not be."""

    until_s: dict[Scope, float]


# ------------------------------------------------------------------------------------------------ command line → daemon


RESTART = "restart the daemon: systemctl restart csfs-daemon, or csfs daemon --stop; mounts go on meanwhile"
"""What helps where the daemon was started before csfs was replaced."""


class Request(Tagged, frozen=True):
    """One command of the command line, of `version`; `arguments` as the command documents them (plain values)."""

    command: str
    arguments: dict[str, Any] = {}
    version: str = csfs.__version__


class Reply(Tagged, frozen=True):
    """The last answer to a request, by a daemon of `version`. `exit_code` 0: `value` is the result; else `error` is to be shown."""

    exit_code: int
    value: Any = None
    error: str = ""
    version: str = csfs.__version__


class Progress(Tagged, frozen=True):
    """Something to show while a request is under way."""

    value: Any


class Told(dict[str, Any]):
    """Plain values from the other side, which may be of another csfs: what they lack raises what `lacking` makes of its name."""

    def __init__(self, values: dict[str, Any], lacking: Callable[[str], CsfsError]) -> None:
        super().__init__({name: told(value, lacking) for name, value in values.items()})
        self._lacking = lacking

    def __missing__(self, name: str) -> Any:
        raise self._lacking(name)


def told(value: Any, lacking: Callable[[str], CsfsError]) -> Any:
    """Return plain values that the other side has told, with all that is in them as `Told`."""
    match value:
        case dict():
            return Told(value, lacking)
        case list():
            return [told(one, lacking) for one in value]
    return value


ControlMessage = (
    ParentHello
    | ParentWelcome
    | Unmounted
    | LetGo
    | MountHello
    | MountWelcome
    | Rows
    | Behind
    | JournalTrouble
    | Digested
    | Flush
    | Flushed
    | Commits
    | CommitResults
    | Refresh
    | Refreshed
    | Secure
    | Secured
    | Leases
    | Request
    | Reply
    | Progress
)
