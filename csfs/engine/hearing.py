"""When a member that joins has heard all that there is to hear (R14)."""

from collections.abc import Iterable

from csfs.core.versions import Scope
from csfs.engine.rules import GroupRules, may_send


class Hearing:
    """Who has told a member all that he knows, group by group, since it joined or began to follow other rules."""

    def __init__(self) -> None:
        self._told: dict[Scope, set[str]] = {}
        self._complete: set[Scope] = set()

    def told(self, scope: Scope, peer: str, *, joins: bool) -> None:
        """A peer has told all it knows of a group; `joins`: it has a tree of its own yet to meet that of the others, too."""
        self._told.setdefault(scope, set()).add(peer)
        if not joins:
            self._complete.add(scope)

    def is_complete(self, groups: Iterable[GroupRules], member: str) -> bool:
        """Return whether every group of `member` was heard of, in which anybody else may say anything.

        Who joins himself counts only together with all others: then nobody is left who may know more, and to wait for each other
        would be to wait for ever.
        """
        return all(self._is_heard(group, member) for group in groups if member in group.members)

    def _is_heard(self, group: GroupRules, member: str) -> bool:
        others = {name for name in group.members if name != member and may_send(group, name)}
        return group.scope in self._complete or others <= self._told.get(group.scope, set())
