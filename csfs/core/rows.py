"""What is held of one path and of a peer, and what has to be done there: values that the engine makes and an index keeps."""

import enum
from typing import NamedTuple

import msgspec

from csfs.core.objects import NO_LINEAGE, Applied, Kind, Lineage, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.records import Content, ContentEntry, Meta, Move, Record
from csfs.core.versions import Dot, Scope, Vector


class Doubt(enum.IntFlag):
    """What is in doubt at a path of a member that was restored or cloned (R8), or lost its power (R24).

    Content, meta and time: made under dots that may mean something else to others; to be minted anew once others were heard.
    """

    NONE = 0
    CONTENT = 1
    META = 2
    TIME = 4
    LAST = 8
    """What is shown may be the last of its content, which was kept elsewhere in a life that is lost: it is kept."""
    UNPROVEN = 16
    """What is shown is what a power cut has left: where nothing is known of the path, it stays and is not sent."""


MADE = Doubt.CONTENT | Doubt.META | Doubt.TIME
"""What is minted anew."""


class Arrived(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A version under which an edit has followed a move here, and the best of what it replaced, None for nothing (R15)."""

    dot: Dot
    replaced: ContentEntry | None


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """All that the index holds of one path.

    `scope` is the group revision that the path belongs to (empty: no group, the record is kept but not followed). `live`: the
    winner is something other than absent. `pending`: what is known is not yet what is shown. `write` is the winner's, by the path's
    own record, if it is something that can have several names. A half's position is the index position at which it last
    changed, 0 for never. `arrived`: an edit of this member's, until it is shown here. `departed`: of which object the last edit was
    that this member took from here, and where to, whatever is known by now of moves away from here (R15).
    """

    record: Record
    applied: Applied
    scope: Scope
    live: bool
    pending: bool
    write: Dot | None = None
    content_position: int = 0
    meta_position: int = 0
    time_position: int = 0
    doubt: Doubt = Doubt.NONE
    arrived: Arrived | None = None
    departed: Move | None = None


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """How far a member is in one scope: the changes whose records it has stored, and those that its disk shows, or never has to."""

    known: Vector = {}
    settled: Vector = {}


class Amount(NamedTuple):
    """So many paths, and so many bytes of contents."""

    paths: int
    size: int

    def plus(self, other: "Amount") -> "Amount":
        """Return both together."""
        return Amount(self.paths + other.paths, self.size + other.size)

    def less(self, other: "Amount") -> "Amount":
        """Return what is left without `other`."""
        return Amount(self.paths - other.paths, self.size - other.size)


def linked_inode(row: Row) -> int | None:
    """Return the inode number of what is shown if it has, or may have, other names; None for a directory."""
    shown = row.applied.observation
    if shown is None or shown.links < 2 or shown.kind is Kind.DIRECTORY:
        return None
    return shown.stamp.inode


class Step(enum.Enum):
    """What has to be done so that the disk shows what is live."""

    INSTALL = "install"
    REMOVE = "remove"
    ATTRIBUTES = "attributes"


class Plan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One application of what is live at a path, and what it makes of `Applied` when it is done.

    `expected` is the stamp that the disk must still show (None: nothing). `content` is what to install (its `hash` must be at
    hand for a file). `meta` is the complete meta wanted; `mtime_ns` None leaves the time alone. `base` is what is
    shown now, `lineage` belongs to what is to be shown. `keep`: what is displaced is the loser of a conflict and must be kept
    whatever retention says; it is kept whole, and under retention, where it is `succeeded` by what was made from it. `write` is
    shared by all names of what is installed; `link` is one of them that shows it already: to be
    linked to it, nothing is built then. `room_for` is what a removal makes room for. `kept` is the name in the kept store of what is
    displaced, if that is to be there as a whole.
    """

    path: RelPath
    step: Step
    expected: Stamp | None
    base: Observation | None
    content: Content
    meta: Meta | None
    mtime_ns: int | None
    keep: bool
    content_dot: Dot | None
    content_seen: Vector
    meta_dot: Dot | None
    meta_seen: Vector
    lineage: Lineage = NO_LINEAGE
    write: Dot | None = None
    link: RelPath | None = None
    room_for: Content | None = None
    kept: bytes = b""
    succeeded: bool = False

    @property
    def needed(self) -> Content | None:
        """The content of a file that has to be at hand before this is carried out, None for none."""
        if self.link is not None:
            return None
        content = self.content if self.step is Step.INSTALL else self.room_for
        return content if content is not None and content.kind is Kind.FILE else None


class Loss(msgspec.Struct, frozen=True):
    """What a plan takes away: a version of a path, by a change of `member`. `removed`: nothing comes in its place."""

    member: str
    removed: bool
    dot: Dot


class Waiting(msgspec.Struct, frozen=True):
    """A path at which a loss is not carried out; `approved`: a person has let this one through."""

    path: RelPath
    loss: Loss
    since_ns: int
    approved: bool = False
