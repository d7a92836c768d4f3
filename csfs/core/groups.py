"""Patterns and groups: which paths of a volume are kept the same, by which members, with which policy.

The language is csync2's, adapted. A pattern is one of:

* `/` - everything, the root itself included;
* `/network` - anchored at the volume's root: that path and everything below it;
* `**/cache/tmp` - those parts at any depth, and everything below;
* `*.bak` (no slash) - a name at any depth, and everything below a directory of that name.

`*` and `?` stay within one name, `**` crosses slashes (as a whole part it stands for any number of directories, none
included), `[a-z]` and `[!a-z]` are one byte of a set, a backslash takes the next character as it is. Matching is on
bytes: `?` is one byte. A trailing slash means nothing.

An exclude always wins over an include of the same group; to have an exception, write a second group for it. Groups are
tried in order and the first that covers a path has it. A directory that no group covers but that leads to an include
belongs to the first group that needs it; so includes must say where they are (no bare name, no `**` before the last
part): csfs could not tell which directories have to exist, and with which mode.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from csfs.core.paths import RESERVED, RelPath
from csfs.core.synchrony import ASYNC, Mode, Synchrony
from csfs.core.treatment import USUAL, Treatment
from csfs.core.versions import Scope

SCOPE_SIZE = 8
CACHED_PATHS_MAX = 65_536
DEFAULT_POLICY = ("younger",)


@dataclass(frozen=True, slots=True)
class GroupRule:
    """One group as the configuration says it; the order of `members` is what `left` and `right` mean.

    `receive_only` names further members, in addition to `members`; `refuses`: their programs cannot change what is received.
    `treatment` is that of the member for which the rules are compiled.
    """

    members: tuple[str, ...]
    receive_only: tuple[str, ...] = ()
    include: tuple[str, ...] = ("/",)
    exclude: tuple[str, ...] = ()
    policy: tuple[str, ...] = DEFAULT_POLICY
    refuses: bool = True
    synchrony: Synchrony = ASYNC
    treatment: Treatment = USUAL


class VolumeRules(Protocol):
    """What `Rules` needs to know of a volume."""

    @property
    def name(self) -> str: ...

    @property
    def rules(self) -> tuple[GroupRule, ...]: ...


@dataclass(frozen=True, slots=True)
class Group:
    """One revision of one group: whoever may read is in `members`, whoever may not write also in `receive_only`.

    `refuses`: what programs change at a receive-only member fails; else it is put back, and kept. Neither this nor `synchrony` nor
    `treatment` is part of what `scope` names.
    """

    members: tuple[str, ...]
    receive_only: frozenset[str]
    policy: tuple[str, ...]
    scope: Scope
    refuses: bool = True
    synchrony: Synchrony = ASYNC
    treatment: Treatment = USUAL

    def may_send(self, member: str) -> bool:
        """Return whether `member` may change paths of this group."""
        return member in self.members and member not in self.receive_only


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, compiled. `covers` takes the path and everything below it, `leads_to` the directories above."""

    text: str
    covers: str
    leads_to: str | None

    @classmethod
    def compiled(cls, text: str) -> "Pattern":
        """Compile `text`.

        Raises:
            ValueError: it is not a pattern; the message says what to write instead.
        """
        if not text or "\0" in text:
            raise ValueError(f'pattern {text!r} is empty or holds a NUL; "/" means everything')
        if not text.strip("/"):
            return cls(text, ".*", None)
        body = text.rstrip("/")
        if "/" not in body:
            return cls(text, f"(?:.*/)?{_part(body)}{_BELOW}", None)
        if not body.startswith(("/", "**/")):
            raise ValueError(f'pattern "{text}" has a slash but no start: write "/{text}" or "**/{text}"')
        parts = body.removeprefix("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError(f'pattern "{text}" has an empty, "." or ".." part')
        return cls(text, _anchored(parts) + _BELOW, _leading(parts))


_BELOW: Final = "(?:/.*)?"
_NOT_EMPTY: Final = "(?=[^/])"


def _anchored(parts: list[str]) -> str:
    pieces = ["(?:[^/]+/)*" if part == "**" else _part(part) + "/" for part in parts[:-1]]
    return "".join(pieces) + (".+" if parts[-1] == "**" else _part(parts[-1]))


def _leading(parts: list[str]) -> str | None:
    """Return what matches the directories above an anchored pattern; None where they cannot be told."""
    above = parts[:-1]
    if any("**" in part for part in above):
        return None
    nested = ""
    for part in reversed(above):
        nested = f"(?:{_part(part)}(?:/{nested})?)" if nested else _part(part)
    return f"(?:{nested})?"


def _part(part: str) -> str:
    """Return the regular expression (of bytes as latin-1) of one part of a pattern."""
    text = part.encode("utf-8", "surrogateescape").decode("latin-1")
    pieces, position = [_NOT_EMPTY], 0
    while position < len(text):
        piece, position = _token(text, position)
        pieces.append(piece)
    return "".join(pieces)


def _token(text: str, position: int) -> tuple[str, int]:
    """Return the expression of the wildcard or character at `position`, and the position after it."""
    character = text[position]
    if text.startswith("**", position):
        return ".*", position + 2
    if character == "*":
        return "[^/]*", position + 1
    if character == "?":
        return "[^/]", position + 1
    if character == "[":
        return _set(text, position)
    if character == "\\":
        if position + 1 == len(text):
            raise ValueError(f'pattern "{text}" ends in a backslash: write two for a backslash')
        return re.escape(text[position + 1]), position + 2
    return re.escape(character), position + 1


def _set(text: str, position: int) -> tuple[str, int]:
    negated = text[position + 1 : position + 2] in ("!", "^")
    first = position + 1 + negated
    end = text.find("]", first + 1)  # a bracket right after the opening one is a member of the set
    if end < 0:
        raise ValueError(f'pattern "{text}" opens a set with [ and does not close it: write \\[ for a bracket')
    # Only "-" keeps a meaning inside the set; whatever else re would read as syntax is escaped.
    members = re.sub(r"[\\\[\]^&~|]", lambda found: "\\" + found[0], text[first:end])
    try:
        re.compile(f"[{members}]")
    except re.error as error:
        raise ValueError(f'pattern "{text}" has a set that cannot be: {error}') from error
    return f"(?!/)[{'^' if negated else ''}{members}]", end + 1


def compiled_include(text: str) -> Pattern:
    """Compile a pattern that is to be included.

    Raises:
        ValueError: it is not a pattern, or it floats: the directories that lead to it cannot be told.
    """
    pattern = Pattern.compiled(text)
    if pattern.leads_to is None and text.strip("/"):
        raise ValueError(
            f'include "{text}" matches at any depth, so csfs cannot tell which directories must exist: '
            'include a directory, such as "/", and exclude what is not wanted'
        )
    return pattern


def scope_of(volume: str, rule: GroupRule, rules: Sequence[GroupRule]) -> Scope:
    """Return the name of this revision of a group: any change of what it means gives another one.

    Which paths it has depends on the patterns of all groups, `rules`, in their order. Were a path to come into a group whose name
    stays, its members would take what was said of other paths for what they know of this one (R9).
    """
    text = json.dumps(
        [
            volume,
            list(rule.members),
            sorted(set(rule.receive_only)),
            sorted(set(rule.include)),
            sorted(set(rule.exclude)),
            list(rule.policy),
            [[sorted(set(other.include)), sorted(set(other.exclude))] for other in rules],
        ],
        separators=(",", ":"),
    )
    return Scope(hashlib.blake2b(text.encode(), digest_size=SCOPE_SIZE).digest())


@dataclass(frozen=True, slots=True)
class _Compiled:
    group: Group
    include: re.Pattern[bytes]
    leads_to: re.Pattern[bytes]
    exclude: re.Pattern[bytes]

    def covers(self, path: bytes) -> bool:
        return self.include.fullmatch(path) is not None and self.exclude.fullmatch(path) is None

    def leads(self, path: bytes) -> bool:
        return self.leads_to.fullmatch(path) is not None and self.exclude.fullmatch(path) is None


def compiled_any(patterns: Sequence[str]) -> re.Pattern[bytes]:
    """Return what matches the paths that any of these patterns covers.

    Raises:
        ValueError: one of them is not a pattern.
    """
    return _any_of([Pattern.compiled(text).covers for text in patterns])


def _any_of(expressions: list[str]) -> re.Pattern[bytes]:
    """Return one expression for all; for none, one that matches nothing."""
    text = "|".join(f"(?:{expression})" for expression in expressions) or "(?!)"
    return re.compile(text.encode("latin-1"), re.DOTALL)


def _compiled(volume: str, rule: GroupRule, rules: Sequence[GroupRule]) -> _Compiled:
    includes = [compiled_include(text) for text in rule.include]
    members = rule.members + tuple(name for name in rule.receive_only if name not in rule.members)
    return _Compiled(
        Group(
            members,
            frozenset(rule.receive_only),
            rule.policy,
            scope_of(volume, rule, rules),
            rule.refuses,
            rule.synchrony,
            rule.treatment,
        ),
        _any_of([pattern.covers for pattern in includes]),
        _any_of([pattern.leads_to for pattern in includes if pattern.leads_to is not None]),
        _any_of([Pattern.compiled(text).covers for text in rule.exclude]),
    )


@dataclass(slots=True)
class Rules:
    """The groups of one volume as one member sees them. Immutable but for a bounded memory of answers."""

    member: str
    groups: tuple[Group, ...]
    _compiled: tuple[_Compiled, ...] = field(repr=False)
    _known: dict[bytes, Group | None] = field(default_factory=dict, repr=False)

    @classmethod
    def compiled(cls, volume: VolumeRules, member: str) -> "Rules":
        """Compile the rules of `volume` for `member`.

        Raises:
            ValueError: a pattern is not one (the configuration's reader has complained of it before).
        """
        compiled = tuple(_compiled(volume.name, rule, volume.rules) for rule in volume.rules)
        return cls(member, tuple(one.group for one in compiled), compiled)

    def group_of(self, path: RelPath) -> Group | None:
        """Return the group that `path` belongs to, the same at every member; None if it is not kept the same."""
        try:
            return self._known[path]
        except KeyError:
            group = self._found(path)
        if len(self._known) >= CACHED_PATHS_MAX:
            self._known.clear()
        self._known[path] = group
        return group

    def is_synced(self, path: RelPath) -> bool:
        """Return whether `path` belongs to a group that this member is in."""
        group = self.group_of(path)
        return group is not None and self.member in group.members

    def is_refusing(self, group: Group) -> bool:
        """Return whether this member's programs cannot change what it receives of the group."""
        return group.refuses and self.member in group.receive_only

    def synchrony_of(self, path: RelPath) -> Synchrony:
        """Return what a program here waits for that has changed `path`."""
        group = self.group_of(path)
        return group.synchrony if group is not None and group.may_send(self.member) else ASYNC

    @property
    def wait(self) -> bool:
        """Whether programs of some member wait for others."""
        return any(group.synchrony.waits for group in self.groups)

    @property
    def flagged(self) -> frozenset[Scope]:
        """The groups in which flags are kept the same."""
        return frozenset(group.scope for group in self.groups if group.treatment.flags)

    @property
    def keep_local(self) -> bool:
        """Whether this member keeps anything that its own programs overwrite or remove."""
        return any(self.member in group.members and group.treatment.keep_local for group in self.groups)

    def treatment_of(self, path: RelPath) -> Treatment:
        """Return how this member shows and reads what is at `path`."""
        group = self.group_of(path)
        return group.treatment if group is not None else USUAL

    def with_quorum(self) -> tuple[Group, ...]:
        """Return the groups in which this member may write only while it reaches most of the members."""
        return tuple(g for g in self.groups if g.may_send(self.member) and g.synchrony.mode is Mode.QUORUM)

    def groups_below(self, path: RelPath) -> tuple[Group, ...]:
        """Return the groups that may have paths below `path`; no other has."""
        return tuple(one.group for one in self._compiled if one.covers(path) or one.leads(path))

    def group_with(self, scope: Scope) -> Group | None:
        """Return the group whose present revision `scope` names."""
        return next((group for group in self.groups if group.scope == scope), None)

    def forget_answers(self) -> None:
        """Hold as little memory as possible."""
        self._known.clear()

    def _found(self, path: bytes) -> Group | None:
        if path == RESERVED or path.startswith(RESERVED + b"/"):
            return None
        for compiled in self._compiled:
            if compiled.covers(path):
                return compiled.group
        return next((compiled.group for compiled in self._compiled if compiled.leads(path)), None)
