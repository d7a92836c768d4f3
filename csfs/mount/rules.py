"""Which paths the mount notes, as the configuration says: read at the start, and anew with each word of welcome from the daemon."""

import logging
from collections.abc import Callable
from typing import Protocol

from csfs.core.groups import Rules
from csfs.core.paths import RelPath
from csfs.core.treatment import USUAL, Treatment

log = logging.getLogger(__name__)


class SyncedRules(Protocol):
    """Which paths of the volume this member keeps in step, and what of them."""

    def is_synced(self, path: RelPath) -> bool: ...

    def treatment_of(self, path: RelPath) -> Treatment: ...


LoadRules = Callable[[], Rules]


class CurrentRules:
    """The rules as they were loaded last. Without any, everything is noted: a row too many costs the daemon one look."""

    def __init__(self, load: LoadRules) -> None:
        self._load = load
        self.loaded: Rules | None = None
        self.reload()

    def is_synced(self, path: RelPath) -> bool:
        """Return whether changes of `path` are noted."""
        return self.loaded is None or self.loaded.is_synced(path)

    def treatment_of(self, path: RelPath) -> Treatment:
        """Return how this member shows and reads what is at `path`."""
        return USUAL if self.loaded is None else self.loaded.treatment_of(path)

    def reload(self) -> None:
        """Load the rules again; what cannot be read leaves those that were. Reads files: for a thread while the mount serves."""
        try:
            self.loaded = self._load()
        except Exception as error:
            log.error("the rules of the volume stay as they were: %s", error)
