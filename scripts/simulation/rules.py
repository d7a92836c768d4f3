"""The rules of simulated clusters: real groups, in a few shapes that a run can change between."""

from dataclasses import dataclass, replace

from csfs.core.groups import Group, GroupRule, Rules
from csfs.core.paths import RelPath, is_below

VOLUME = "volume"
PRIVATE = RelPath(b"d/e")
"""What a private group has, with all that is below."""


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
    """How the cluster is configured at one moment.

    `private`: `/d/e` is a group of its own, of all but the last member; those who are `turned` are in it if they were not, and out
    of it if they were. While it is, those who are `parted` are out of the group of everything else.
    """

    members: tuple[str, ...]
    receive_only: tuple[str, ...] = ()
    policy: tuple[str, ...] = ("younger",)
    exclude: tuple[str, ...] = ()
    private: bool = False
    turned: tuple[str, ...] = ()
    parted: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The volume's name, as `groups.Rules` asks for it."""
        return VOLUME

    @property
    def rules(self) -> tuple[GroupRule, ...]:
        """The groups, as `groups.Rules` asks for them."""
        if not self.private or len(self.writers) == 1:
            return (GroupRule(self.writers, self.receive_only, ("/",), self.exclude, self.policy),)
        return (
            GroupRule(self.inside, (), ("/" + PRIVATE.decode(),), self.exclude, self.policy),
            GroupRule(self.around, self.receive_only, ("/",), self.exclude, self.policy),
        )

    @property
    def writers(self) -> tuple[str, ...]:
        """Those who do not only receive."""
        return tuple(name for name in self.members if name not in self.receive_only)

    @property
    def inside(self) -> tuple[str, ...]:
        """Those whom the private group has, if there is one: somebody, in the order of all."""
        usual = self.writers[:-1]
        return tuple(name for name in self.writers if (name in usual) != (name in self.turned)) or usual

    @property
    def around(self) -> tuple[str, ...]:
        """Those who have everything else then: somebody, too."""
        return tuple(name for name in self.writers if name not in self.parted) or self.writers

    def compiled(self, member: str) -> Rules:
        """Return the rules as `member` sees them."""
        return Rules.compiled(self, member)


REVISIONS = ("plain", "exclude", "private", "policy", "receive-only")


def changed(shape: Shape, what: str, *, may_receive: bool) -> Shape:
    """Return another shape; `may_receive`: the last member may come to only receive."""
    match what:
        case "exclude":
            return replace(shape, exclude=() if shape.exclude else ("/d/b",))
        case "private":
            return replace(shape, private=not shape.private)
        case "policy":
            return replace(shape, policy=("older",) if shape.policy == ("younger",) else ("younger",))
        case "receive-only" if shape.receive_only or may_receive:
            return replace(shape, receive_only=() if shape.receive_only else shape.members[1:][-1:])
        case _:
            return replace(shape, exclude=(), private=False)


def is_private(path: RelPath) -> bool:
    """Return whether the private group has a path, if there is one."""
    return path == PRIVATE or is_below(path, PRIVATE)


def turned(shape: Shape, member: str) -> Shape:
    """Return a shape in which one member is in the private group if it was not, and the other way round: nothing else changes."""
    if shape.inside == (member,):
        return shape  # somebody has to be in it
    return replace(shape, turned=_toggled(shape, shape.turned, member))


def parted(shape: Shape, member: str) -> Shape:
    """Return a shape in which one member is in the group of all but the private paths if it was not, and the other way round."""
    if shape.around == (member,) or member in shape.receive_only:
        return shape
    return replace(shape, parted=_toggled(shape, shape.parted, member))


def _toggled(shape: Shape, names: tuple[str, ...], member: str) -> tuple[str, ...]:
    return tuple(name for name in shape.members if name in {*names} ^ {member})
