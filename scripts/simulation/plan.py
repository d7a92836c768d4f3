"""What happens in a run, all said beforehand: a plan is made from a seed, can be shortened, written down and run again.

Each action carries its own dice, so that leaving one out changes nothing about the choices of the others. What cannot be done at its
turn (no such file, no such link) is passed over.
"""

import enum

import msgspec

SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
NAMES = "abcdefghijklmnopqrstuvwxyz"


class Act(enum.Enum):
    """What can happen. `member` is whom it happens to, `other` the other end of a link, `name` an operation."""

    PROGRAM = "program"
    DIGEST = "digest"
    SEND = "send"
    DELIVER = "deliver"
    SYNC = "sync"
    REPEAT = "repeat"
    APPLY = "apply"
    DIE = "die"
    CUT = "cut"
    HALF_OPEN = "half-open"
    CONNECT = "connect"
    CRASH = "crash"
    PARTITION = "partition"
    REUNITE = "reunite"
    FILL = "fill"
    FREE = "free"
    SAVE = "save"
    RESTORE = "restore"
    CLONE = "clone"
    ROT = "rot"
    QUIET = "quiet"
    RULES = "rules"
    TURN = "turn"
    ADOPT = "adopt"
    JOIN = "join"
    LEAVE = "leave"
    APPROVE = "approve"
    REJECT = "reject"
    FLUSH = "flush"
    POWER_CUT = "power cut"
    SECURE = "secure"
    ACQUAINT = "acquaint"


class Action(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happens, `after_ns` after the one before."""

    act: Act
    member: int
    other: int
    dice: int
    after_ns: int
    name: str = ""

    def __str__(self) -> str:
        who = NAMES[self.member] if self.act is not Act.PARTITION else f"{self.dice:b}"
        to = f"->{NAMES[self.other]}" if self.act in LINKED else ""
        return f"{self.act.value} {who}{to}{' ' + self.name if self.name else ''} #{self.dice}"


class Setup(msgspec.Struct, frozen=True, array_like=True):
    """What a run begins with. `late` members join in its course; `extra` is what becomes of their own files.

    `private`: the last member is left out of a directory. `paths` are those that programs work at, none for all. `brake`: members
    may not take away a great part of the tree in one go. `apart`: the private directory is only for those who join in its course.
    """

    count: int
    policy: tuple[str, ...]
    receive_only: str = ""
    skews_ns: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    extra: str = "add"
    private: bool = False
    paths: tuple[int, ...] = ()
    brake: bool = False
    apart: bool = False


class Plan(msgspec.Struct, frozen=True, array_like=True):
    """One whole run."""

    seed: int
    setup: Setup
    actions: tuple[Action, ...]

    def acts(self) -> set[Act]:
        """Return the kinds of what happens."""
        return {action.act for action in self.actions}


DISASTERS = (Act.CRASH, Act.RESTORE, Act.POWER_CUT)
"""What befalls who has what a program was told that he has."""

LINKED = (Act.SEND, Act.DELIVER, Act.SYNC, Act.REPEAT, Act.CUT, Act.HALF_OPEN, Act.CONNECT)
"""What happens to a link."""

OFF = {
    "several members cloned": "a copy of one may find a copy of the other behind, instead of itself",
    "both hosts of a cloned member on the network at once": "they take turns: a peer keeps one link to a member",
    "member that leaves, or loses its power, when only receive-only ones have heard it": "nobody listens to these",
    "what a mount keeps of what programs destroy": "it is kept before anybody looks, by code of the mount alone (`keep_local`)",
    "leases of groups with a quorum": "they keep writes from being begun, and say nothing of those that were: somebody writes less",
}
"""What is not simulated because the engine does not have it, and why."""
