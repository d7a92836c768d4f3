"""What takes several acts in one order to come to anything: some plans have such a script among what happens by chance."""

from typing import NamedTuple

from scripts.simulation.plan import Act


class Script(NamedTuple):
    """Acts that come one after the other in one of `one_in` seeds: those that leave `rest` when divided, if what it `needs` may happen.

    Of each it says whether it is the one member's that all is about, and what programs do there. It is among the last 1 / `among` of
    a plan. `together`: it is about one other member, and one of few paths at which programs begin.
    """

    one_in: int
    rest: int
    acts: tuple[tuple[Act, bool, str], ...]
    among: int = 1
    needs: Act | None = None
    together: bool = False


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
    # A member loses its power just after something was renamed there.
    Script(
        1,
        0,
        (
            (Act.QUIET, True, ""),
            (Act.FLUSH, True, ""),
            *((Act.PROGRAM, True, "rename"),) * 9,
            (Act.POWER_CUT, True, ""),
        ),
        needs=Act.POWER_CUT,
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
    # A member takes along what it has edited, and removes it under the old name before it shows it at the new one.
    Script(
        11,
        5,
        (
            (Act.PROGRAM, True, "write"),
            (Act.DIGEST, True, ""),
            (Act.QUIET, True, ""),
            (Act.PROGRAM, True, "write"),
            (Act.DIGEST, True, ""),
            (Act.PROGRAM, False, "rename"),
            (Act.DIGEST, False, ""),
            (Act.CONNECT, False, ""),
            (Act.SYNC, False, ""),
            (Act.PROGRAM, True, "remove"),
            (Act.DIGEST, True, ""),
        ),
        among=8,
        together=True,
    ),
)
"""What takes several acts in one order to come to anything."""
