"""Members that were set back, go on as the same incarnation, and do not know yet that others have heard of another life of theirs."""

from collections.abc import Iterable

from csfs.core.paths import RelPath
from scripts.simulation.host import Host


class SecondLife:
    """What such a member makes before it meets one of the `witnesses`. `touched`: the paths that its programs changed.

    Of a member and its copy each has one, from the moment at which it was copied, and keeps it while it is not there.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._incarnation = host.incarnation
        self._counters = {scope: host.index.last_counter(scope) for scope in host.scopes}
        self._begun = len(host.ledger.from_nothing)
        self.witnesses: set[str] = set()
        self.touched: set[RelPath] = set()

    def is_that_of(self, host: Host) -> bool:
        """Return whether a member is still the incarnation that this was begun as."""
        return host.incarnation == self._incarnation

    def made_by_hearers(self) -> set[RelPath]:
        """Return where others have made something, and knew of nothing there, who had heard of changes that were made since."""
        counter = max(self._counters.values(), default=0)
        made = self._host.ledger.from_nothing[self._begun :]
        return {path for path, seen in made if seen.get(self._incarnation, 0) > counter}

    def who_has_heard_more(self, hosts: Iterable[Host]) -> set[str]:
        """Return who knows of changes of that incarnation beyond those that the member was set back to."""
        others = (host for host in hosts if host is not self._host)
        return {host.name for host in others if self._has_heard_more(host)}

    def _has_heard_more(self, host: Host) -> bool:
        counters = self._counters.items()
        return any(host.index.knowledge(scope).get(self._incarnation, 0) > counter for scope, counter in counters)
