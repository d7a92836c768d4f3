"""Makes the plan of a run from a seed."""

from collections.abc import Iterator
from random import Random

import msgspec

from csfs.core.policies import MERGE
from scripts.simulation.chances import (
    ACQUAINTED_MAX,
    ATTRIBUTES,
    BESIDE_EDITS,
    CARRIED,
    DISTURBANCES,
    FOLLOWED,
    GENTLE,
    GRANTED,
    LINKS,
    LINKS_KEPT,
    MOVES,
    NEAR,
    OPERATIONS,
    PATHS,
    POLICIES,
    PRIVATE,
    SECURED_MAX,
    TOGETHER,
    TURN_STEPS_MAX,
    TURNS_MAX,
    USUAL,
    WITH_ACQUAINTED,
    WITH_CARRIED,
    WITH_HELD,
    WITH_LINKS,
    WITH_LINKS_CUT,
    WITH_SECURED,
    WITH_TURNS,
)
from scripts.simulation.plan import DISASTERS, HOUR_NS, NAMES, SECOND_NS, Act, Action, Plan, Setup
from scripts.simulation.rules import REVISIONS
from scripts.simulation.scripted import SCRIPTS, Script


def made(seed: int, members: int, steps: int) -> Plan:
    """Return the plan of a seed."""
    plan = _by_chance(seed, members, steps)
    if seed % 2 and plan.setup.late and plan.setup.count > 3:
        plan = _with_late_ones_apart(plan)
    if seed % WITH_ACQUAINTED[0] == WITH_ACQUAINTED[1]:
        setup = msgspec.structs.replace(plan.setup, paths=plan.setup.paths[:2])
        plan = Plan(seed, setup, tuple(_with_acquainted(Random(~seed), setup.count, list(plan.actions))))
    if seed % WITH_TURNS[0] != WITH_TURNS[1] or plan.setup.receive_only:
        return plan
    paths = tuple(sorted({*plan.setup.paths[:1], *PRIVATE}))
    setup = msgspec.structs.replace(plan.setup, private=True, paths=paths)
    return Plan(seed, setup, tuple(_with_turns(Random(~seed), setup.count, list(plan.actions))))


def _with_late_ones_apart(plan: Plan) -> Plan:
    """Return a plan in which two join at once, and have something in which nobody was before."""
    late, paths = tuple(range(plan.setup.count))[-2:], tuple(sorted({*plan.setup.paths, *PRIVATE}))
    setup = msgspec.structs.replace(plan.setup, late=late, private=True, apart=True, paths=paths)
    return msgspec.structs.replace(plan, setup=setup)


def _by_chance(seed: int, members: int, steps: int) -> Plan:
    """Return a plan of whatever may happen, but for changes of a group's members."""
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
    one_in, rest = WITH_LINKS_CUT if Act.POWER_CUT in weights else WITH_LINKS
    if seed % one_in == rest:
        names = _with_links(Random(~seed), names)
    if seed % WITH_HELD[0] == WITH_HELD[1]:
        names = _with_held(Random(~seed), names)
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
            if script.together:
                setup = msgspec.structs.replace(setup, paths=NEAR[0])
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
    others = [(who + random.randrange(1, count)) % count for _ in script.acts]
    begins = random.getrandbits(30)
    for place, (act, is_its_own, name) in enumerate(script.acts, first):
        other = others[0 if script.together else place - first]
        member, peer = (who, other) if is_its_own else (other, who)
        action = _action(random, act, count, name)
        dice = REVISIONS.index("exclude") if act is Act.RULES else action.dice
        if script.together and act is Act.PROGRAM:
            dice = begins
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


def _with_turns(random: Random, count: int, actions: list[Action]) -> list[Action]:
    """Return what happens with members among it that are put into a group, or taken out of it; all hear of that, one by one."""
    for _ in range(random.randint(1, TURNS_MAX)):
        place = random.randrange(len(actions) + 1)
        told = [(Act.TURN, random.randrange(count)), *((Act.ADOPT, who) for who in random.sample(range(count), count))]
        for act, who in told:
            actions.insert(min(place, len(actions)), _by(_action(random, act, count, ""), who, count))
            place += random.randrange(1, TURN_STEPS_MAX)
    return actions


def _with_acquainted(random: Random, count: int, actions: list[Action]) -> list[Action]:
    """Return what happens with members among it that come to know somebody, to whom another one has given rights before, mostly.

    Some of them do not know him any more after a while, and go on changing what he has rights to.
    """
    for who in random.sample(range(count), min(count, ACQUAINTED_MAX)):
        place, other = random.randint(len(actions) * 3 // 4, len(actions)), (who + random.randrange(1, count)) % count
        told = [_action(random, Act.PROGRAM, count, random.choice(("mode", "touch", "give"))) for _ in range(GRANTED)]
        told += [_action(random, act, count, "") for act in (Act.DIGEST, *(Act.CONNECT, Act.SYNC, Act.SYNC) * 2)]
        told = [msgspec.structs.replace(action, member=other, other=who) for action in told]
        acts = [Act.APPLY, Act.APPLY, Act.ACQUAINT]
        changes = [*(Act.PROGRAM,) * GRANTED, Act.DIGEST]
        acts += [*changes, Act.ACQUAINT, *changes] if random.random() < 0.4 else []
        actions[place:place] = [*told, *(_by(_action(random, act, count, "mode"), who, count) for act in acts)]
    return actions


def _with_links(random: Random, names: list[str]) -> list[str]:
    """Return what programs do in a run with hard links: little else, or all the rest as well."""
    if random.random() < 0.6:
        return random.choices(LINKS if random.random() < 0.5 else LINKS_KEPT, k=len(names))
    return ["link" if random.random() < 0.2 else name for name in names]


def _with_held(random: Random, names: list[str]) -> list[str]:
    """Return what programs do in a run in which they change files in memory as well."""
    return ["hold" if random.random() < 0.2 else name for name in names]


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
