"""What happens in a run, all said beforehand: a plan is made from a seed, can be shortened, written down and run again.

Each action carries its own dice, so that leaving one out changes nothing about the choices of the others. What cannot be done at its
turn (no such file, no such link) is passed over.
"""

import enum
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import msgspec

from csfs.core.policies import MERGE
from scripts.simulation.rules import REVISIONS

SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
PATHS = 7
"""How many paths programs may work at."""
PRIVATE = (5, 6)
"""Those of them that a private group has."""
NAMES = "abcdefghijklmnopqrstuvwxyz"
POLICIES = (
    ("merge", "younger"),
    ("older",),
    ("left",),
    ("right",),
    ("merge", "bigger", "first"),
    ("younger",),
    ("smaller", "first"),
)


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
    ADOPT = "adopt"
    JOIN = "join"
    LEAVE = "leave"
    APPROVE = "approve"
    REJECT = "reject"
    FLUSH = "flush"
    POWER_CUT = "power cut"
    SECURE = "secure"


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
    may not take away a great part of the tree in one go.
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

USUAL = {
    Act.PROGRAM: 300,
    Act.DIGEST: 150,
    Act.SEND: 150,
    Act.DELIVER: 170,
    Act.SYNC: 50,
    Act.APPLY: 150,
    Act.CONNECT: 40,
    Act.CUT: 25,
    Act.CRASH: 8,
}
DISTURBANCES: dict[Act, int] = {
    Act.REPEAT: 20,
    Act.DIE: 20,
    Act.HALF_OPEN: 15,
    Act.PARTITION: 10,
    Act.REUNITE: 15,
    Act.FILL: 8,
    Act.FREE: 12,
    Act.SAVE: 10,
    Act.RESTORE: 6,
    Act.CLONE: 8,
    Act.ROT: 25,
    Act.QUIET: 4,
    Act.RULES: 6,
    Act.ADOPT: 15,
    Act.JOIN: 8,
    Act.LEAVE: 2,
    Act.APPROVE: 4,
    Act.REJECT: 4,
    Act.FLUSH: 12,
    Act.POWER_CUT: 12,
}
TOGETHER = (
    (Act.REPEAT, Act.ROT, Act.QUIET),
    (Act.DIE,),
    (Act.HALF_OPEN, Act.CLONE, Act.QUIET),
    (Act.PARTITION, Act.REUNITE),
    (Act.FILL, Act.FREE),
    (Act.SAVE, Act.RESTORE, Act.QUIET),
    (Act.RULES, Act.ADOPT),
    (Act.JOIN, Act.ADOPT),
    (Act.LEAVE, Act.ADOPT),
    (Act.APPROVE, Act.REJECT),
    (Act.FLUSH, Act.POWER_CUT),
)
"""Disturbances that belong together; each run has some of them, so that most runs have few."""

OPERATIONS = {
    "write": 30,
    "save": 10,
    "mode": 10,
    "owner": 10,
    "touch": 10,
    "rename": 10,
    "shift": 5,
    "exchange": 4,
    "remove": 10,
    "directory": 10,
    "symlink": 8,
    "tree": 6,
    "turn": 8,
    "secret": 20,
    "give": 10,
    "sync": 10,
}
LINKS = ("write", "save", "mode", "touch", "remove", "rename", "link", "link")
"""Operations that make names of one inode, and what tears them apart."""
LINKS_KEPT = ("write", "write", "mode", "touch", "touch", "link")
"""Operations that make names of one inode, and take few of them apart."""
WITH_LINKS = (4, 2)
"""One in so many seeds has hard links: those that leave this when divided."""
CARRIED = ("grow", "grow", "carry", "carry", "carry", "carry", "write", "mode", "remove", "rename", "touch", "tree")
"""Operations of which some make directories with something in them, and most move those."""
WITH_CARRIED = (8, 5)
"""One in so many seeds has members that move directories as a whole: those that leave this when divided."""
GENTLE = ("write", "save", "mode", "owner", "touch", "directory", "symlink", "secret", "give", "sync")
"""Operations that take nothing away."""
ATTRIBUTES = ("write", "save", "mode", "owner", "give", "touch", "secret", "sync")
"""Operations that change what a file may, and whose it is."""
BESIDE_EDITS = ("save", "mode", "touch", "remove", "rename")
MOVES = ("save", "symlink", "owner", "rename", "exchange", "remove", "directory", "turn")
"""Operations that change what is where."""
FOLLOWED = (
    "write",
    "write",
    "save",
    "mode",
    "touch",
    "rename",
    "rename",
    "rename",
    "shift",
    "exchange",
    "directory",
    "remove",
)
"""Operations of which one moves what another one changes."""
NEAR = ((0, 1), (0, 1), (3, 4), (0, 1, 3), (0, 2, 3), (2, 3, 6))
"""Few paths, so that it is the same object."""

WITH_SECURED = (13, 6)
"""One in so many seeds has programs that wait until others have what they wrote: those that leave this when divided."""
SECURED_MAX = 6


class Script(NamedTuple):
    """Acts that come one after the other in one of `one_in` seeds: those that leave `rest` when divided, if what it `needs` may happen.

    Of each it says whether it is the one member's that all is about, and what programs do there. It is among the last 1 / `among` of
    a plan.
    """

    one_in: int
    rest: int
    acts: tuple[tuple[Act, bool, str], ...]
    among: int = 1
    needs: Act | None = None


SCRIPTS = (
    # A member is restored to before others removed things, and forgot that.
    Script(
        2,
        1,
        (
            (Act.QUIET, True, ""),
            (Act.SAVE, True, ""),
            *((Act.PROGRAM, False, "remove"),) * 4,
            *((Act.QUIET, False, ""),) * 3,
            (Act.RESTORE, True, ""),
            (Act.PROGRAM, True, "write"),
            (Act.PROGRAM, True, "mode"),
            (Act.DIGEST, True, ""),
        ),
        needs=Act.RESTORE,
    ),
    # A member removes a directory in which something was followed once.
    Script(
        19,
        7,
        (
            (Act.QUIET, True, ""),
            (Act.RULES, True, ""),
            (Act.ADOPT, True, ""),
            (Act.ADOPT, False, ""),
            (Act.PROGRAM, True, "clear"),
            (Act.DIGEST, True, ""),
        ),
        among=8,
    ),
    # A member is killed just after it has said something.
    Script(
        23,
        18,
        (
            (Act.QUIET, True, ""),
            (Act.PROGRAM, True, "write"),
            (Act.DIGEST, True, ""),
            (Act.SYNC, True, ""),
            (Act.CRASH, True, ""),
        ),
    ),
)
"""What takes several acts in one order to come to anything."""

OFF = {
    "several members cloned": "a copy of one may find a copy of the other behind, instead of itself",
    "both hosts of a cloned member on the network at once": "they take turns: a peer keeps one link to a member",
    "member that becomes receive-only": "what it had not sent before is nobody else's, and stays live there",
    "member that leaves, or loses its power, when only receive-only ones have heard it": "nobody listens to these",
    "hard links at a member that loses its power": "its disk is remembered name by name",
    "leases of groups with a quorum": "the mount refuses by its clock what it is not told in time; what was promised is checked",
}
"""What is not simulated because the engine does not have it, and why."""


def made(seed: int, members: int, steps: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(seed)
    count = min(members, 2 + int(random.expovariate(0.8)))  # few, so that each link has its share of what happens
    disturbed = random.sample(TOGETHER, random.choice((0, 1, 1, 2, 2, 3)))
    more = 4 - len(disturbed)
    weights = {**USUAL, **{act: more * DISTURBANCES[act] for group in disturbed for act in group}}
    late = tuple(range(1, count))[-1:] if Act.JOIN in weights and count > 2 else ()
    receive_only = NAMES[count - 1] if _has_receiver(random, weights, late, count) else ""
    setup = Setup(
        count,
        random.choice(POLICIES),
        receive_only,
        tuple(random.choice((0, 0, -3 * SECOND_NS, 5 * SECOND_NS, -5 * HOUR_NS, 3 * HOUR_NS)) for _ in range(count)),
        late,
        random.choice(("add", "keep")),
        random.random() < 0.25 and count > 2,
        tuple(sorted(random.sample(range(PATHS), random.randint(2, PATHS)))),
        Act.APPROVE in weights,
    )
    if setup.private:
        # Little else, and by way of others: what is said of one group has to be told from what is said of the other.
        setup = msgspec.structs.replace(setup, paths=tuple(sorted({*setup.paths[:1], *PRIVATE})))
        weights.update({Act.SYNC: 200, Act.CUT: 60})
    if setup.brake:
        # What waits has to outlive something.
        weights.update({Act.CRASH: 40})
    allowed = random.choice(
        (GENTLE, ATTRIBUTES, ATTRIBUTES, MOVES, MOVES, FOLLOWED, FOLLOWED, *(tuple(OPERATIONS),) * 3)
    )
    operations = random.sample(allowed, random.randint(3, len(allowed))) if allowed is not FOLLOWED else FOLLOWED
    acts, chances = list(weights), list(weights.values())
    names = random.choices(operations, [OPERATIONS[name] for name in operations], k=steps)
    if setup.policy[0] == MERGE and seed % 4:
        # Edits of few files alone have something in common often enough to be put together.
        setup = msgspec.structs.replace(setup, paths=setup.paths[:2])
        names = [name if name in BESIDE_EDITS else "write" for name in names]
    if seed % WITH_LINKS[0] == WITH_LINKS[1] and Act.POWER_CUT not in weights:
        names = _with_links(Random(~seed), names)
    happening = random.choices(acts, chances, k=steps)
    if seed % WITH_CARRIED[0] == WITH_CARRIED[1]:
        setup = msgspec.structs.replace(setup, paths=())
        return Plan(seed, setup, tuple(_carried(Random(~seed), count, happening)))
    if allowed is FOLLOWED:
        setup = msgspec.structs.replace(setup, paths=random.choice(NEAR))
        return Plan(seed, setup, tuple(_rounds(random, count, happening, random.choices(FOLLOWED, k=steps))))
    actions = [_action(random, act, count, name) for act, name in zip(happening, names, strict=True)]
    for script in SCRIPTS:
        is_due = seed % script.one_in == script.rest and (script.needs is None or script.needs in weights)
        if is_due and len(actions) // script.among > len(script.acts):
            actions = _with_script(Random(~seed), count, actions, script)
    if seed % WITH_SECURED[0] == WITH_SECURED[1]:
        actions = _with_secured(Random(~seed), count, actions, {*DISASTERS} & {*weights, Act.RESTORE, Act.CRASH})
    return Plan(seed, setup, tuple(actions))


def _rounds(random: Random, count: int, happening: list[Act], names: list[str]) -> Iterator[Action]:
    """Yield rounds: members do things apart from each other, and then hear of them, mostly; now and then something else happens."""
    other, name = iter(happening), iter(names)
    left = len(happening)
    while left > 0:
        acts = [(Act.PROGRAM, who) for who in range(count) for _ in range(random.randrange(3))]
        acts += [(Act.DIGEST, who) for who in range(count)]
        acts += [(act, who) for who in range(count) for act in (Act.CONNECT, Act.SYNC, Act.SYNC)]
        acts += [(Act.APPLY, who) for who in range(count) for _ in range(2)]
        acts = [act for act in acts if random.random() < 0.9]
        if random.random() < 0.5:
            acts.insert(random.randrange(len(acts) + 1), (next(other), random.randrange(count)))
        for act, who in acts[:left]:
            yield msgspec.structs.replace(
                _action(random, act, count, next(name)),
                member=who,
                other=random.choice([o for o in range(count) if o != who]),
            )
        left -= len(acts)


def _carried(random: Random, count: int, happening: list[Act]) -> Iterator[Action]:
    """Yield rounds in which all hear of everything, mostly, before somebody moves a directory with all that is in it."""
    left = len(happening)
    pairs = [(one, other) for one in range(count) for other in range(count) if one != other]
    while left > 0:
        mover, acts = random.randrange(count), list[tuple[Act, int, int]]()
        for name_count in (2, 1):
            acts += [(Act.PROGRAM, mover if random.random() < 0.8 else random.randrange(count), 0)] * name_count
            acts += [(Act.DIGEST, who, 0) for who in range(count)]
            acts += [(Act.DIE, random.randrange(count), 0)] if name_count == 1 and random.random() < 0.4 else []
            acts += [(act, *pair) for pair in pairs for act in (Act.CONNECT, Act.SYNC)]
            acts += [(Act.SYNC, *pair) for pair in pairs]
        acts = [act for act in acts if random.random() < 0.93]
        if random.random() < 0.6:
            acts.insert(random.randrange(len(acts) + 1), (random.choice(happening), random.randrange(count), 0))
        for act, who, other in acts[:left]:
            action = _action(random, act, count, random.choice(CARRIED))
            to = {"other": other} if act in (Act.CONNECT, Act.SYNC) and other != who else {}
            yield msgspec.structs.replace(action, member=who, **to) if to else _by(action, who, count)
        left -= len(acts)


def _by(action: Action, who: int, count: int) -> Action:
    """Return an action of another member."""
    other = action.other if action.other != who else (who + 1) % count
    return msgspec.structs.replace(action, member=who, other=other)


def _with_script(random: Random, count: int, actions: list[Action], script: Script) -> list[Action]:
    """Return what happens with a script among it."""
    within = len(actions) // script.among
    first, who = len(actions) - within + random.randrange(within - len(script.acts)), random.randrange(count)
    for place, (act, is_its_own, name) in enumerate(script.acts, first):
        other = (who + random.randrange(1, count)) % count
        member, peer = (who, other) if is_its_own else (other, who)
        action = _action(random, act, count, name)
        dice = REVISIONS.index("exclude") if act is Act.RULES else action.dice
        actions[place] = msgspec.structs.replace(action, member=member, other=peer, dice=dice)
    return actions


def _with_secured(random: Random, count: int, actions: list[Action], disasters: set[Act]) -> list[Action]:
    """Return what happens with programs among it that wait until others have what they wrote, and what befalls these then."""
    for _ in range(random.randint(1, SECURED_MAX)):
        place, who = random.randrange(len(actions) + 1), random.randrange(count)
        others = [other for other in range(count) if other != who]
        acts = [(Act.SAVE, who), (Act.PROGRAM, who), *[(Act.CONNECT, who)] * 2, *[(Act.SECURE, who)] * 3]
        befalls = random.choice(sorted(disasters, key=lambda act: act.value))
        acts += [(befalls, random.choice(others)), (Act.RESTORE, who)]
        told = [_action(random, act, count, "write") for act, _ in acts]
        actions[place:place] = [_by(action, member, count) for action, (_, member) in zip(told, acts, strict=True)]
    return actions


def _with_links(random: Random, names: list[str]) -> list[str]:
    """Return what programs do in a run with hard links: little else, or all the rest as well."""
    if random.random() < 0.6:
        return random.choices(LINKS if random.random() < 0.5 else LINKS_KEPT, k=len(names))
    return ["link" if random.random() < 0.2 else name for name in names]


def _has_receiver(random: Random, weights: dict[Act, int], late: tuple[int, ...], count: int) -> bool:
    """Return whether the last member only receives."""
    return random.random() < 0.1 and count > 2 and not late and not weights.keys() & {Act.LEAVE, Act.POWER_CUT}


def _action(random: Random, act: Act, count: int, name: str) -> Action:
    member = random.randrange(count)
    other = (member + random.randrange(1, count)) % count
    dice = random.getrandbits(30)
    after_ns = random.randrange(1, SECOND_NS)
    if act is Act.PARTITION:
        dice %= 1 << count
    if act is Act.RULES:
        dice %= len(REVISIONS)
    return Action(act, member, other, dice, after_ns, name if act is Act.PROGRAM else "")
