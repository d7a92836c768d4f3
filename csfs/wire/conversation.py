"""Who may say what when, between two members and between an invited host and its inviter.

Each side of a connection has a state of its own, moved by what that side says: either may go on as soon as it has introduced
itself, without waiting for the other. What is not in the table may not be said.
"""

import enum

from csfs.errors import LocalProtocolError, RemoteProtocolError
from csfs.wire import messages
from csfs.wire.messages import PROTOCOL, PeerMessage
from csfs.wire.segments import Extents, GetExtents, GetSegments, Segments


class Role(enum.Enum):
    """What a side of a connection is."""

    MEMBER = "member"
    GUEST = "guest"
    """The invited host."""
    INVITER = "inviter"


class State(enum.Enum):
    """What a side may say next."""

    GREETING = "greeting"
    REPLICATING = "replicating"
    JOINING = "joining"
    CLOSED = "closed"
    """It has said its last word."""


_REPLICATING: tuple[type[PeerMessage], ...] = (
    messages.Records,
    messages.Stands,
    messages.GetParts,
    messages.Parts,
    messages.GetRecords,
    messages.Told,
    messages.Mend,
    messages.Moved,
    messages.Followed,
    messages.GetSights,
    messages.Sights,
    messages.Stored,
    messages.AppliedUpTo,
    messages.Remaining,
    messages.GetSummary,
    messages.Summary,
    messages.GetPages,
    messages.Pages,
    messages.GetBlocks,
    messages.Blocks,
    GetSegments,
    Segments,
    GetExtents,
    Extents,
    messages.Unavailable,
    messages.Refusals,
    messages.Vouch,
    messages.Vouched,
    messages.Heartbeat,
    messages.Settings,
)

TRANSITIONS: dict[tuple[Role, State, type[PeerMessage]], State] = {
    # The one that was dialled sends a heartbeat when it takes the connection: the other then knows that its certificate was accepted.
    (Role.MEMBER, State.GREETING, messages.Heartbeat): State.GREETING,
    (Role.MEMBER, State.GREETING, messages.Hello): State.REPLICATING,
    (Role.MEMBER, State.GREETING, messages.Goodbye): State.CLOSED,
    **{(Role.MEMBER, State.REPLICATING, said): State.REPLICATING for said in _REPLICATING},
    (Role.MEMBER, State.REPLICATING, messages.Goodbye): State.CLOSED,
    (Role.GUEST, State.JOINING, messages.Join): State.CLOSED,
    (Role.INVITER, State.JOINING, messages.Joined): State.CLOSED,
    (Role.INVITER, State.JOINING, messages.Goodbye): State.CLOSED,
}

_FIRST = {Role.MEMBER: State.GREETING, Role.GUEST: State.JOINING, Role.INVITER: State.JOINING}


class Conversation:
    """What both sides of one connection have said so far. `peer` is the other side as its certificate names it."""

    def __init__(self, peer: str, ours: Role = Role.MEMBER, theirs: Role = Role.MEMBER) -> None:
        self._peer = peer
        self._our_role = ours
        self._their_role = theirs
        self.our_state = _FIRST[ours]
        self.their_state = _FIRST[theirs]

    def may_say(self, kind: type[PeerMessage]) -> bool:
        """Return whether we may say a message of that kind now."""
        return (self._our_role, self.our_state, kind) in TRANSITIONS

    def say(self, message: PeerMessage) -> None:
        """Note that we are about to say `message`.

        Raises:
            LocalProtocolError: it is not our turn for that.
        """
        state = TRANSITIONS.get((self._our_role, self.our_state, type(message)))
        if state is None:
            raise LocalProtocolError(
                f"{type(message).__name__} to {self._peer} as {self._our_role.value} while {self.our_state.value}"
            )
        self.our_state = state

    def hear(self, message: PeerMessage) -> None:
        """Note what the peer said.

        Raises:
            RemoteProtocolError: it may not say that now, not in this version, or not in this name.
        """
        state = TRANSITIONS.get((self._their_role, self.their_state, type(message)))
        if state is None:
            raise RemoteProtocolError(
                f"{self._peer}: {type(message).__name__} while {self.their_state.value}; same csfs version on both sides?"
            )
        if isinstance(message, messages.Hello):
            self._check_hello(message)
        self.their_state = state

    def _check_hello(self, hello: messages.Hello) -> None:
        if hello.protocol != PROTOCOL:
            raise RemoteProtocolError(
                f"{self._peer}: speaks protocol {hello.protocol} (csfs {hello.version}), we speak {PROTOCOL}; "
                "install the same csfs version on both"
            )
        if hello.member != self._peer:
            raise RemoteProtocolError(f"{self._peer}: calls itself {hello.member}; is member.toml there the right one?")
