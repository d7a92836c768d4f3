"""What was changed under a mount: who is suspected of what, what turned out to be so, and what the mount has to be told.

A change is reported once a look has shown that it is one. What a comparison finds may have been written through the mount a moment
ago: it is reported only when the mount has told all it knows and has not named the path.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass

from csfs.core import acls
from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath, is_below, parent_of, shown
from csfs.replicate.signals import Signal
from csfs.replicate.sparing import Sparing
from csfs.wire.control import Stale

log = logging.getLogger(__name__)

SHOWN_MAX = 100
SUSPECTS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Culprit:
    """Who did it, as far as that is known: `pid` 0 and an empty `program` say that it is not."""

    pid: int = 0
    program: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One path that was changed under the mount. `what`: created, removed, written, replaced, attributes."""

    path: RelPath
    what: str
    culprit: Culprit
    found_ns: int


class Findings:
    """Those of one volume, since the daemon started."""

    def __init__(self, volume: str) -> None:
        self._volume = volume
        self._suspects: dict[RelPath, Culprit] = {}
        """Paths where the watch has seen somebody, until they are looked at."""
        self._compared: dict[RelPath, Finding] = {}
        """What a comparison found and the mount has not explained."""
        self._stale: dict[RelPath, Stale] = {}
        self.comparing = False
        """Whether a comparison is to find what was changed under the mount."""
        self.recent: deque[Finding] = deque(maxlen=SHOWN_MAX)
        self.count = 0
        self.wanted = Signal()
        """The mount has to be told something."""
        self._sparing = Sparing()

    # ----------------------------------------------------------------------------------------------- what is suspected

    def suspect(self, path: RelPath, culprit: Culprit) -> None:
        """The watch has seen `culprit` do something to `path`."""
        if len(self._suspects) < SUSPECTS_MAX:
            self._suspects[path] = culprit

    def explained(self, *paths: RelPath | None) -> None:
        """The mount has told of changes at these paths: they passed it."""
        if not self._compared:
            return
        for path in paths:
            if path is None:
                continue
            for named in (path, parent_of(path), *(other for other in self._compared if is_below(other, path))):
                self._compared.pop(named, None)

    def looked(
        self, path: RelPath, before: Observation | None, after: Observation | None, *, compared: bool = False
    ) -> None:
        """A path was looked at; `compared`: nobody asked for that but a comparison."""
        culprit = self._suspects.pop(path, None)
        what = _what(before, after) if culprit is not None or compared else ""
        if not what:
            return
        self.stale(path, before, named=before is None or after is None or before.stamp.inode != after.stamp.inode)
        finding = Finding(path, what, culprit or Culprit(), time.time_ns())
        if culprit is not None:
            self._report(finding)
        elif self.comparing:
            self._compared[path] = finding

    def stale(self, path: RelPath, before: Observation | None, *, named: bool) -> None:
        """The kernel is to ask anew about a path; `named`: also what the name stands for."""
        earlier = self._stale.get(path)
        inode = before.stamp.inode if before is not None else 0
        self._stale[path] = Stale(path, inode, named or (earlier is not None and earlier.named))
        self.wanted.notify()

    # ---------------------------------------------------------------------------------------------------- what comes of it

    @property
    def has_stale(self) -> bool:
        """Whether the mount has to be told something."""
        return bool(self._stale)

    def taken_stale(self, count_max: int) -> tuple[Stale, ...]:
        """Return what the mount has to be told, at most so much, and forget it."""
        taken = list(self._stale)[:count_max]
        return tuple(self._stale.pop(path) for path in taken)

    def confirmed(self) -> list[Finding]:
        """The mount has told all it knows: what a comparison found and nobody explained is so. Return that."""
        found, self._compared = list(self._compared.values()), {}
        for finding in found:
            self._report(finding)
        return found

    def _report(self, finding: Finding) -> None:
        self.count += 1
        self.recent.append(finding)
        ending = self._sparing.ending()
        if ending is None:
            return
        log.warning(
            "%s: /%s was changed under the mount (%s)%s%s",
            self._volume,
            shown(finding.path),
            finding.what,
            f" by {described(finding.culprit)}" if finding.culprit.pid else "",
            ending,
        )


def described(culprit: Culprit) -> str:
    """Return who a culprit is, for a person."""
    if not culprit.pid:
        return "an unknown process"
    return f"{culprit.program or 'a process that has ended'} ({culprit.pid})"


def _what(before: Observation | None, after: Observation | None) -> str:
    """Return what became of an object, empty for nothing. A directory's time says nothing that its entries do not."""
    if before is None or after is None:
        return "" if before is after else "created" if before is None else "removed"
    if before.kind is not after.kind:
        return "replaced"
    if (before.hash, before.target, before.device) != (after.hash, after.target, after.device):
        return "written"
    fields = [(o.mode, o.uid, o.gid, 0 if o.kind is Kind.DIRECTORY else o.mtime_ns) for o in (before, after)]
    is_same = fields[0] == fields[1] and acls.are_same_here(before.xattrs, after.xattrs)
    return "" if is_same else "attributes"
