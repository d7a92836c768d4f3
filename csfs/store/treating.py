"""How objects of one volume are shown and read here, path by path, as the configuration says for their groups."""

from collections.abc import Callable
from typing import NamedTuple

from csfs.core.paths import RelPath
from csfs.core.treatment import BY_NAME, USUALLY_CARRIED, Carried, Treatment, carried_by
from csfs.store.owners import Owners


class Treated(NamedTuple):
    """Whose an object is to be here, and which of its extended attributes count."""

    owners: Owners
    carried: Carried = USUALLY_CARRIED


class Treatments:
    """What treatments mean on this host, path by path. Safe to use from several threads: at worst two make the same."""

    def __init__(self, owners: Owners, treatment_of: Callable[[RelPath], Treatment]) -> None:
        self._owners = owners
        self._treatment_of = treatment_of
        self._known: dict[Treatment, Treated] = {}

    def __call__(self, path: RelPath) -> Treated:
        """Return how what is at a path is shown and read."""
        treatment = self._treatment_of(path)
        treated = self._known.get(treatment)
        if treated is None:
            owners = self._owners if treatment.owners == BY_NAME else self._owners.following(treatment.owners)
            treated = self._known[treatment] = Treated(owners, carried_by(treatment.xattrs, flags=treatment.flags))
        return treated
