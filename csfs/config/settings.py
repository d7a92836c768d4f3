"""Settings: what the configuration says, as frozen values, and the changes that commands make to them."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from csfs.config import durations, profiles, sizes
from csfs.config.addresses import Address
from csfs.config.commands import ActionSettings, ValidatorSettings
from csfs.core import synchrony
from csfs.core.groups import DEFAULT_POLICY, GroupRule, Rules
from csfs.core.synchrony import Synchrony
from csfs.core.treatment import BY_NAME, USUAL_XATTRS, Treatment
from csfs.errors import ConfigError

T = TypeVar("T")

POLICIES = ("younger", "older", "bigger", "smaller", "first", "left", "right", "none", "merge")
LOG_LEVELS = ("debug", "info", "warning", "error")
DEFAULT_OWNERS = BY_NAME
DEFAULT_COMPARE = "1d"
NEVER = "never"
APPLY_MODES = ("auto", "atomic", "in-place")
"""How a change of a part of a large file is applied: in place where the file system cannot share blocks, never, wherever possible."""
DEFAULT_SYNC = "async"
DEFAULT_SYNC_TIMEOUT = "10s"
SYNC_TIMEOUTS = ("report", "fail")
"""What comes of a call when what it changed is not where it is to be in time."""
LOCAL_CHANGES = ("refuse", "revert")
"""What becomes of changes that programs of a receive-only member make."""
OFF = "off"
SEND_RATE_MIN = 64 * 1024
"""Bytes per second: what a peer asks for in one go is to arrive before it gives up."""
DEFAULT_PATH = "default"
"""The key of a volume's path at members that have none of their own; no member may have this name."""


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """A member and where its peers call it; no address means that it calls them."""

    name: str
    address: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """A group as written. No `members` means every member of the cluster that is not in `receive_only`.

    `owners` are those of the volume where they say nothing of a member; `devices` holds (member, whether it has device nodes) and
    (`default`, whether the others have them), sorted.
    """

    members: tuple[str, ...] = ()
    receive_only: tuple[str, ...] = ()
    include: tuple[str, ...] = ("/",)
    exclude: tuple[str, ...] = ()
    policy: tuple[str, ...] = DEFAULT_POLICY
    on_local_change: str = LOCAL_CHANGES[0]
    sync: str = DEFAULT_SYNC
    sync_timeout: str = DEFAULT_SYNC_TIMEOUT
    on_sync_timeout: str = SYNC_TIMEOUTS[0]
    owners: tuple[tuple[str, str], ...] = ()
    xattrs: tuple[str, ...] = USUAL_XATTRS
    sockets: bool = False
    devices: tuple[tuple[str, bool], ...] = ()
    flags: bool = False
    keep_local: bool = False

    @property
    def synchrony(self) -> Synchrony:
        """What programs wait for that change something."""
        mode, others = synchrony.parsed(self.sync)
        return Synchrony(mode, others, durations.parsed(self.sync_timeout), self.on_sync_timeout == "fail")


@dataclass(frozen=True, slots=True)
class BrakeSettings:
    """What a member's changes may take away of a volume in one go: no more than `share` percent of it, or than `paths`."""

    share: int = 50
    paths: int = 100


DEFAULT_BRAKE = BrakeSettings()


@dataclass(frozen=True, slots=True)
class VolumeSettings:
    """A volume as written. `paths` holds (member, path) and (`default`, path), sorted; no `groups` means one for all.

    `watch`: whether changes under the mount are to be noticed at once. `compare`: how often the tree is compared, or `never`.
    `brake`: what peers may take away in one go; None: anything.
    `owners` holds (member, choice) and (`default`, choice), sorted: `name`, `numeric`, or the USER[:GROUP] who has everything there.
    `apply`: one of `APPLY_MODES`.
    """

    name: str
    paths: tuple[tuple[str, str], ...]
    profile: str = ""
    groups: tuple[GroupSettings, ...] = ()
    watch: bool = True
    compare: str = DEFAULT_COMPARE
    brake: BrakeSettings | None = DEFAULT_BRAKE
    owners: tuple[tuple[str, str], ...] = ()
    apply: str = APPLY_MODES[0]
    validators: tuple[ValidatorSettings, ...] = ()
    actions: tuple[ActionSettings, ...] = ()

    def path_of(self, member: str) -> str | None:
        """Return the directory at `member`; None where it has none."""
        paths = dict(self.paths)
        return paths.get(member, paths.get(DEFAULT_PATH))

    def owners_at(self, member: str, group: GroupSettings | None = None) -> str:
        """Return how owners are told at `member`, of all or of what one group has."""
        usual = dict(self.owners)
        own = dict(group.owners) if group is not None else {}
        chosen = own.get(member, own.get(DEFAULT_PATH))
        return chosen if chosen is not None else usual.get(member, usual.get(DEFAULT_PATH, DEFAULT_OWNERS))

    def treatment_at(self, member: str, group: GroupSettings) -> Treatment:
        """Return how `member` shows and reads what a group has."""
        devices = dict(group.devices)
        has_devices = devices.get(member, devices.get(DEFAULT_PATH, True))
        rest = (group.sockets, has_devices, group.flags, group.keep_local)
        return Treatment(self.owners_at(member, group), group.xattrs, *rest)

    @property
    def compare_s(self) -> float:
        """The seconds between two comparisons; 0: there are none."""
        return 0.0 if self.compare == NEVER else durations.parsed(self.compare)


@dataclass(frozen=True, slots=True)
class VolumeRules:
    """A volume's groups with everything filled in that was left out, as `Rules` wants them."""

    name: str
    rules: tuple[GroupRule, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """The cluster's configuration, the same at every member. `revision` grows with each change that csfs makes.

    `revoked` are serial numbers of certificates that are trusted no longer, in lower-case hexadecimal digits, ascending as text.
    """

    cluster: str
    members: tuple[MemberSettings, ...]
    volumes: tuple[VolumeSettings, ...] = ()
    revision: int = 1
    revoked: tuple[str, ...] = ()

    @property
    def member_names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    def member(self, name: str) -> MemberSettings:
        """Return a member's settings.

        Raises:
            ConfigError: there is no such member.
        """
        return _found("member", name, {member.name: member for member in self.members})

    def volume(self, name: str) -> VolumeSettings:
        """Return a volume's settings.

        Raises:
            ConfigError: there is no such volume.
        """
        return _found("volume", name, {volume.name: volume for volume in self.volumes})

    def volume_at(self, path: str, member: str) -> VolumeSettings | None:
        """Return the volume whose directory at `member` is `path` or holds it; `path` is absolute and normal."""
        for volume in self.volumes:
            top = volume.path_of(member)
            if top is not None and (path == top or path.startswith(top.rstrip("/") + "/")):
                return volume
        return None

    def volume_rules(self, name: str, member: str = "") -> VolumeRules:
        """Return the groups of a volume with members and the profile's excludes filled in, and how `member` treats what they have."""
        volume = self.volume(name)
        groups = volume.groups or (GroupSettings(),)
        return VolumeRules(name, tuple(self._rule(volume, group, member) for group in groups))

    def validators(self, name: str) -> tuple[ValidatorSettings, ...]:
        """Return a volume's validators, those of its profile last."""
        volume = self.volume(name)
        usual = profiles.VALIDATORS.get(volume.profile, ())
        return volume.validators + tuple(ValidatorSettings(paths, command, True) for paths, command in usual)

    def rules(self, volume: str, member: str) -> Rules:
        """Return the compiled rules of a volume as `member` sees them."""
        return Rules.compiled(self.volume_rules(volume, member), member)

    def _rule(self, volume: VolumeSettings, group: GroupSettings, member: str) -> GroupRule:
        everybody = tuple(name for name in self.member_names if name not in group.receive_only)
        exclude = group.exclude + profiles.excludes_of(volume.profile, group.include)
        members = group.members or everybody
        refuses = group.on_local_change == "refuse"
        rest = (group.policy, refuses, group.synchrony, volume.treatment_at(member, group))
        return GroupRule(members, group.receive_only, group.include, exclude, *rest)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What this host alone decides: who it is, where it listens, how much it logs, how fast it sends.

    `send_rates` holds (peer, rate) and (`default`, rate), sorted: how many bytes of contents leave in a second, or `off`.
    """

    member: str
    listen: tuple[Address, ...] = (Address("*"),)
    log_level: str = "info"
    send_rates: tuple[tuple[str, str], ...] = ()

    def send_rate(self, peer: str) -> int | None:
        """Return how many bytes of contents may leave for `peer` in a second, None for any number."""
        rates = dict(self.send_rates)
        rate = rates.get(peer, rates.get(DEFAULT_PATH, OFF))
        return None if rate == OFF else sizes.parsed(rate)


def _found(what: str, name: str, known: Mapping[str, T]) -> T:
    try:
        return known[name]
    except KeyError:
        raise ConfigError(f"no {what} {name}; there are: {', '.join(known) or 'none'}") from None


def with_volume(settings: Settings, volume: VolumeSettings) -> Settings:
    """Return `settings` with one more volume.

    Raises:
        ConfigError: its name is taken.
    """
    if any(volume.name == other.name for other in settings.volumes):
        raise ConfigError(f"volume {volume.name} is there already; remove it first, or choose another name")
    return _changed(settings, volumes=(*settings.volumes, volume))


def without_volume(settings: Settings, name: str) -> Settings:
    """Return `settings` without a volume.

    Raises:
        ConfigError: there is no such volume.
    """
    gone = settings.volume(name)
    return _changed(settings, volumes=tuple(volume for volume in settings.volumes if volume is not gone))


def with_member(
    settings: Settings, name: str, address: tuple[Address, ...] = (), paths: Mapping[str, str] | None = None
) -> Settings:
    """Return `settings` with one more member, or with new addresses of it. `paths`: volume to its directory there.

    Raises:
        ConfigError: `paths` names a volume that does not exist.
    """
    member = MemberSettings(name, address)
    others = settings.members
    if name in settings.member_names:
        members = tuple(member if other.name == name else other for other in others)
    else:
        members = (*others, member)
    volumes = settings.volumes
    for volume_name, path in (paths or {}).items():
        chosen = with_path(settings.volume(volume_name), name, path)
        volumes = tuple(chosen if volume.name == volume_name else volume for volume in volumes)
    return _changed(settings, members=members, volumes=volumes)


def with_path(volume: VolumeSettings, member: str, path: str) -> VolumeSettings:
    """Return `volume` with a directory of its own at `member`."""
    return dataclasses.replace(volume, paths=tuple(sorted({**dict(volume.paths), member: path}.items())))


def without_member(settings: Settings, name: str, serials: Iterable[int] = ()) -> Settings:
    """Return `settings` without a member, wherever it is named; `serials` are those of its certificates.

    Raises:
        ConfigError: there is no such member, or it is the last that may write in some group.
    """
    settings.member(name)
    members = tuple(member for member in settings.members if member.name != name)
    volumes = tuple(_volume_without(volume, name) for volume in settings.volumes)
    names = tuple(member.name for member in members)
    for volume in volumes:
        for group in volume.groups:
            complaint = lacking(group, names)
            if not set(group.members or names) - set(group.receive_only):
                complaint = "nobody is left who may write in a group"
            if complaint:
                raise ConfigError(f"volume {volume.name}: without {name}, {complaint}; change that first")
    revoked = tuple(sorted({*settings.revoked, *(f"{serial:x}" for serial in serials)}))
    return dataclasses.replace(_changed(settings, members=members, volumes=volumes), revoked=revoked)


def lacking(group: GroupSettings, cluster: tuple[str, ...]) -> str:
    """Return why there can never be enough members for what a group waits for, empty if there can."""
    members = len({*(group.members or cluster), *group.receive_only})
    needed = group.synchrony.needed(members) if group.synchrony.waits else 0
    return (
        f'sync = "{group.sync}" waits for {needed} other members, and there are {members - 1}'
        if needed >= members
        else ""
    )


def _volume_without(volume: VolumeSettings, name: str) -> VolumeSettings:
    for group in volume.groups:
        if group.members == (name,):
            raise ConfigError(f"volume {volume.name}: {name} is the last member of a group; remove the group first")
    groups = tuple(
        dataclasses.replace(
            group,
            members=tuple(member for member in group.members if member != name),
            receive_only=tuple(member for member in group.receive_only if member != name),
            owners=tuple((member, choice) for member, choice in group.owners if member != name),
            devices=tuple((member, choice) for member, choice in group.devices if member != name),
        )
        for group in volume.groups
    )
    paths = tuple((member, path) for member, path in volume.paths if member != name)
    if not paths:
        raise ConfigError(
            f"volume {volume.name}: {name} alone has a directory for it; csfs volume remove {volume.name} first"
        )
    owners = tuple((member, choice) for member, choice in volume.owners if member != name)
    # One that ran nowhere else would run everywhere, were nobody left to be named.
    actions = tuple(
        dataclasses.replace(action, members=tuple(member for member in action.members if member != name))
        for action in volume.actions
        if action.members != (name,)
    )
    return dataclasses.replace(volume, groups=groups, paths=paths, owners=owners, actions=actions)


def _changed(
    settings: Settings,
    *,
    members: tuple[MemberSettings, ...] | None = None,
    volumes: tuple[VolumeSettings, ...] | None = None,
) -> Settings:
    return dataclasses.replace(
        settings,
        members=settings.members if members is None else members,
        volumes=settings.volumes if volumes is None else volumes,
        revision=settings.revision + 1,
    )
