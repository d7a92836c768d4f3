"""The rules of simulated clusters: real groups, in a few shapes that a run can change between."""

from dataclasses import dataclass, replace

from csfs.core.groups import Group, GroupRule, Rules
from csfs.core.paths import RelPath

VOLUME = "volume"


@dataclass(frozen=True)
class OneGroup:
    """Rules with one group for everything."""

    group: Group

    @property
    def groups(self) -> tuple[Group, ...]:
        """All groups."""
        return (self.group,)

    def group_of(self, path: RelPath) -> Group | None:
        """Return the group of any path."""
        return self.group


@dataclass(frozen=True)
class Shape:
    """How the cluster is configured at one moment. `private` leaves the last member out of `/d/e`."""

    members: tuple[str, ...]
    receive_only: tuple[str, ...] = ()
    policy: tuple[str, ...] = ("younger",)
    exclude: tuple[str, ...] = ()
    private: bool = False

    @property
    def name(self) -> str:
        """The volume's name, as `groups.Rules` asks for it."""
        return VOLUME

    @property
    def rules(self) -> tuple[GroupRule, ...]:
        """The groups, as `groups.Rules` asks for them."""
        writers = tuple(name for name in self.members if name not in self.receive_only)
        rule = GroupRule(writers, self.receive_only, ("/",), self.exclude, self.policy)
        if self.private and len(writers) > 1:
            return GroupRule(writers[:-1], (), ("/d/e",), self.exclude, self.policy), rule
        return (rule,)

    def compiled(self, member: str) -> Rules:
        """Return the rules as `member` sees them."""
        return Rules.compiled(self, member)


REVISIONS = ("plain", "exclude", "private", "policy", "receive-only")


def changed(shape: Shape, what: str) -> Shape:
    """Return another shape. Nobody becomes receive-only: what he had not sent yet would stay his alone."""
    match what:
        case "exclude":
            return replace(shape, exclude=() if shape.exclude else ("/d/b",))
        case "private":
            return replace(shape, private=not shape.private)
        case "policy":
            return replace(shape, policy=("older",) if shape.policy == ("younger",) else ("younger",))
        case "receive-only" if shape.receive_only:
            return replace(shape, receive_only=())
        case _:
            return replace(shape, exclude=(), private=False)
