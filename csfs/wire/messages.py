"""Messages between members, on one TLS connection per pair.

Records flow in the sender's update order and are acknowledged by position; contents are asked for block by block, in
small windows, so that a large file never holds up a small change. Who may say what when: `conversation`.
"""

from typing import Annotated

import msgspec

from csfs.core.patches import Patch
from csfs.core.records import ContentEntry, DirectoryTime, Half, MetaEntry
from csfs.core.rows import Amount, Standing
from csfs.core.tables import HASH_SIZE
from csfs.core.versions import Dot, Hlc, Incarnation, Scope, Vector
from csfs.wire.control import Tagged
from csfs.wire.moves import Followed as Followed
from csfs.wire.moves import Moved as Moved
from csfs.wire.segments import Extents, GetExtents, GetSegments, Segments

PROTOCOL = 2
FRAME_SIZE_MAX = 4 * 1024 * 1024
"""No frame is larger, before or after compression."""
UPDATES_MAX = 2_000
"""Updates in one `Records`."""
INLINE_SIZE_MAX = 32 * 1024
"""Contents up to this size travel with their record."""
INLINE_BATCH_SIZE_MAX = 1024 * 1024
"""Inline contents of one `Records` together; beyond it the rest is asked for."""
BLOCKS_PER_REQUEST_MAX = 8
SUMMARY_HASHES_MAX = 65_536
"""Hashes in one `Summary`."""
PAGES_PER_REQUEST_MAX = 64
"""Pages of a table in one `Pages`: half a MiB."""
PATCHES_SIZE_MAX = 512 * 1024
"""Patches in one `Records` together; who lacks another one asks for blocks."""
REFUSALS_MAX = 100
CLAIMS_MAX = 50
"""Claims in one `Vouch`: with the longest of paths they fill a frame."""
PARTS_MAX = 64
"""Parts that a range is divided into."""
RECORDS_ASKED_MAX = 50
"""Paths in one `GetRecords`."""
SIGHTS_MAX = 500
"""Paths in one `Sights`."""


class VolumeHello(msgspec.Struct, frozen=True, array_like=True):
    """What a member says of one volume that both have.

    `index_id` names the index whose positions it counts in; `cursor` is (the peer's index id, position) up to which it has
    stored what the peer sent, so that the peer can go on there. `pulling`: it has nothing of its own to say yet (R14).
    `token` is the last one that the peer gave it, `incarnation` is what it is now (R8).
    """

    name: str
    index_id: bytes
    knowledge: dict[Scope, Vector]
    cursor_index: bytes = b""
    cursor_position: int = 0
    pulling: bool = False
    token: bytes = b""
    incarnation: Incarnation = Incarnation(0)


class Hello(Tagged, frozen=True):
    """First on every connection, from both sides. `time_ns` is the sender's clock. `incarnations` says whose they are."""

    protocol: int
    version: str
    cluster: str
    member: str
    time_ns: int
    settings_revision: int
    settings_digest: bytes
    incarnations: dict[int, str]
    volumes: tuple[VolumeHello, ...]


class Update(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one path now; a half that the receiver has already is left out."""

    path: bytes
    content: Half[ContentEntry] | None = None
    meta: Half[MetaEntry] | None = None
    time: DirectoryTime | None = None


class Records(Tagged, frozen=True):
    """Updates of one scope, in the sender's order, and the position that they reach.

    `contents` are whole small contents, which their hashes name; they come last (`streams`). `patches` make contents of others that
    the receiver is likely to have. `mark`, when the sender has caught up with itself, is its knowledge of the scope: the receiver's
    knowledge advances only then (R10). `token`, if there is one, is to be remembered with what came with it.
    """

    volume: str
    scope: Scope
    position: int
    updates: Annotated[tuple[Update, ...], msgspec.Meta(max_length=UPDATES_MAX)]
    mark: Vector | None = None
    patches: tuple[Patch, ...] = ()
    token: bytes = b""
    contents: tuple[bytes, ...] = ()


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive live paths of a range: the last one, how many there are, and their set hash."""

    last: bytes
    count: int
    digest: bytes


class Stands(Tagged, frozen=True):
    """How the sender stands, said after all that it had to say before: how far it is, and its set hash, per scope (R12, R13).

    A scope without a hash has nothing to compare at the moment; there is none while the sender joins, or is in `quarantined`. `token`
    is a fresh one for the receiver, `held` the last one of the receiver's. `time_ns` is the sender's clock.
    """

    volume: str
    standings: dict[Scope, Standing]
    digests: dict[Scope, bytes]
    time_ns: int
    quarantined: bool = False
    token: bytes = b""
    held: bytes = b""


class GetParts(Tagged, frozen=True):
    """Ask for the parts of a range of live paths of one scope: after `above`, up to and including `last` (empty: the end)."""

    volume: str
    request: int
    scope: Scope
    above: bytes
    last: bytes


class Parts(Tagged, frozen=True):
    """The parts of a range, ascending."""

    request: int
    parts: Annotated[tuple[Part, ...], msgspec.Meta(max_length=PARTS_MAX)]


class GetRecords(Tagged, frozen=True):
    """Ask for whole records of paths of one scope."""

    volume: str
    request: int
    scope: Scope
    paths: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=RECORDS_ASKED_MAX)]


class Told(Tagged, frozen=True):
    """What is known of the first `count` of the paths asked for; of those that are left out, nothing is."""

    request: int
    count: int
    updates: Annotated[tuple[Update, ...], msgspec.Meta(max_length=RECORDS_ASKED_MAX)]


class Mend(Tagged, frozen=True):
    """Whole records of paths at which the receiver differs, though it knows what the sender knows."""

    volume: str
    scope: Scope
    updates: Annotated[tuple[Update, ...], msgspec.Meta(max_length=RECORDS_ASKED_MAX)]
    token: bytes


class GetSights(Tagged, frozen=True):
    """Ask what the disk shows in a range of paths of one scope, contents read anew; see `GetParts`."""

    volume: str
    request: int
    scope: Scope
    above: bytes
    last: bytes


class Sight(msgspec.Struct, frozen=True, array_like=True):
    """What the disk shows at a path: a hash of it (empty: nothing is there), and what it is against the index."""

    path: bytes
    digest: bytes
    state: int = 0


class Sights(Tagged, frozen=True):
    """What the disk shows up to `reached`, ascending; empty: up to the end of the range."""

    request: int
    reached: bytes
    found: Annotated[tuple[Sight, ...], msgspec.Meta(max_length=SIGHTS_MAX)]


class Stored(Tagged, frozen=True):
    """Everything up to `position` is durable here; `knowledge` is what the sender of this knows now, per scope."""

    volume: str
    position: int
    knowledge: dict[Scope, Vector]


class AppliedUpTo(Tagged, frozen=True):
    """Everything up to `position` is on disk here, or reported as a problem; `problems` counts those."""

    volume: str
    position: int
    problems: int = 0


class Remaining(Tagged, frozen=True):
    """How much the sender has yet to show, of what anybody told it, and how much it has done since its index was opened."""

    volume: str
    left: Amount
    done: Amount


class GetSummary(Tagged, frozen=True):
    """Ask for the hashes of the pages of a content's table, from page `first` on; the content has more than one block."""

    volume: str
    request: int
    hash: bytes
    first: int = 0


class Summary(Tagged, frozen=True):
    """Hashes of pages from `first` on, 32 bytes each, concatenated; `count` is how many the table has."""

    request: int
    first: int
    count: int
    hashes: bytes


class GetPages(Tagged, frozen=True):
    """Ask for pages of a content's table, by their numbers."""

    volume: str
    request: int
    hash: bytes
    numbers: Annotated[tuple[int, ...], msgspec.Meta(max_length=PAGES_PER_REQUEST_MAX)]


class Pages(Tagged, frozen=True):
    """The pages asked for, in that order: the hashes of their blocks, 32 bytes each, concatenated."""

    request: int
    pages: tuple[bytes, ...]


class GetBlocks(Tagged, frozen=True):
    """Ask for `count` blocks of a content from block `first` on. A content of one block has its own hash as the block's."""

    volume: str
    request: int
    hash: bytes
    first: int
    count: int


class Blocks(Tagged, frozen=True):
    """The blocks asked for, one bytes object each."""

    request: int
    first: int
    blocks: tuple[bytes, ...]


class Unavailable(Tagged, frozen=True):
    """The content asked for is not here (any more)."""

    request: int


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """One path whose version, made by the receiver of this, a validator keeps out, and what it said."""

    path: bytes
    reason: str


class Refusals(Tagged, frozen=True):
    """Everything that the sender's validators keep out of what the receiver made, as it is now."""

    volume: str
    refusals: Annotated[tuple[Refusal, ...], msgspec.Meta(max_length=REFUSALS_MAX)]


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """Versions of one path that somebody is to have; None for a half that nothing is claimed of.

    `hash` is that of a file which holds anything, else empty; `origin` is the dot of the version that first held its bytes. What was
    made before `hlc` has superseded none of the two.
    """

    path: bytes
    content: Dot | None
    meta: Dot | None
    hash: Annotated[bytes, msgspec.Meta(max_length=HASH_SIZE)] = b""
    origin: Dot | None = None
    hlc: Hlc = Hlc(0)


class Vouch(Tagged, frozen=True):
    """Ask the receiver to say when it has these versions, or what superseded them, with contents; answered by `Vouched`, or never.

    `durable`: on its disk, so that they survive a power cut there. Without claims: when its volume is mounted.
    """

    volume: str
    request: int
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(max_length=CLAIMS_MAX)]
    durable: bool


class Vouched(Tagged, frozen=True):
    """The sender has what was claimed."""

    request: int


class Heartbeat(Tagged, frozen=True):
    """Sent when nothing else was for a while; answered by nothing. `time_ns` is the sender's clock."""

    time_ns: int


class Settings(Tagged, frozen=True):
    """The cluster's configuration as text, from the side with the higher revision.

    `signature` is the cluster authority's: no member can grant itself what its groups do not.
    """

    revision: int
    text: str
    signature: bytes


class Join(Tagged, frozen=True):
    """First on a connection without a certificate: the invited host asks to become a member.

    `request` is its certificate signing request (PEM). `paths` are its own places of volumes.
    """

    protocol: int
    member: str
    secret: str
    request: bytes
    addresses: tuple[str, ...]
    paths: dict[str, str]


class Joined(Tagged, frozen=True):
    """The answer: certificates in PEM and the cluster's configuration."""

    certificate: bytes
    authority: bytes
    settings: str


class Goodbye(Tagged, frozen=True):
    """The sender is about to close; `reason` is for the other side's log and status."""

    reason: str


Question = GetSummary | GetPages | GetBlocks | GetSegments | GetExtents | GetParts | GetRecords | GetSights
Answer = Summary | Pages | Blocks | Segments | Extents | Parts | Told | Sights

PeerMessage = (
    Hello
    | Records
    | Stands
    | Mend
    | Moved
    | Followed
    | Stored
    | AppliedUpTo
    | Remaining
    | Question
    | Answer
    | Unavailable
    | Refusals
    | Vouch
    | Vouched
    | Heartbeat
    | Settings
    | Join
    | Joined
    | Goodbye
)
