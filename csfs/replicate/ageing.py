"""Groups whose members have lived so often that what they make takes long: that is said while there is ample time to change it."""

from typing import Final

from csfs.core.versions import Vector
from csfs.engine.validation import INCARNATIONS_MAX
from csfs.replicate.volume import Volume

INCARNATIONS_WARNED: Final = INCARNATIONS_MAX // 4


def alarms(volume: Volume) -> list[str]:
    """Return what a person has to know, a sentence for each group."""
    rows = volume.index.rows
    told = (_alarm(group.members, rows.knowledge(group.scope)) for group in volume.rules.groups)
    return [one for one in told if one]


def _alarm(members: tuple[str, ...], known: Vector) -> str:
    if len(known) <= INCARNATIONS_WARNED:
        return ""
    return (
        f"in the group of {', '.join(members)}, {len(known)} lives of members have changed something (each boot begins one), "
        f"and every change carries them all; beyond {INCARNATIONS_MAX} nothing new is taken in: change any of its rules in "
        "csfs.toml, one more pattern in exclude will do, and the group begins anew"
    )
