"""What the engine has to know of the configuration: which group a path belongs to."""

from collections.abc import Iterable
from typing import Protocol

from csfs.core.paths import RelPath
from csfs.core.versions import Scope


class GroupRules(Protocol):
    """One revision of one group; `members` in order, the receive-only ones among them."""

    @property
    def scope(self) -> Scope: ...

    @property
    def members(self) -> tuple[str, ...]: ...

    @property
    def receive_only(self) -> frozenset[str]: ...

    @property
    def policy(self) -> tuple[str, ...]: ...


class Rules(Protocol):
    """The groups of one volume."""

    @property
    def groups(self) -> Iterable[GroupRules]: ...

    def group_of(self, path: RelPath) -> GroupRules | None:
        """Return the group that `path` belongs to, the same at every member; None if it is not kept the same."""
        ...


def may_send(group: GroupRules, member: str) -> bool:
    """Return whether `member` may change paths of `group`."""
    return member in group.members and member not in group.receive_only
