"""How often what happens in a run: acts, what programs do, and what belongs together."""

from scripts.simulation.plan import Act

PATHS = 7
"""How many paths programs may work at."""
PRIVATE = (5, 6)
"""Those of them that a private group has."""
POLICIES = (
    ("merge", "younger"),
    ("older",),
    ("left",),
    ("right",),
    ("merge", "bigger", "first"),
    ("younger",),
    ("smaller", "first"),
)

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
WITH_LINKS_CUT = (16, 14)
"""One in so many seeds has them where members lose their power: some of those."""
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
WITH_HELD = (12, 0)
"""One in so many seeds has programs that change files in memory: those that leave this when divided."""
WITH_ACQUAINTED = (16, 7)
"""One in so many seeds has members that come to know somebody: those that leave this when divided."""
ACQUAINTED_MAX = 4
GRANTED = 3
"""How often somebody may be given rights before another member comes to know him."""
WITH_TURNS = (15, 8)
"""One in so many seeds has members that are put into a group, or taken out of it: those that leave this when divided."""
TURNS_MAX = 4
TURN_STEPS_MAX = 8
"""How much happens until the next member hears of it."""
