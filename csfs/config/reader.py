"""Reads csfs.toml and member.toml to settings. Everything that is wrong with a file is said at once."""

import re
import tomllib
from itertools import combinations
from posixpath import normpath
from typing import Any

from csfs.config import addresses, settings, sizes
from csfs.config.commands import action_of, validator_of
from csfs.config.profiles import PROFILES
from csfs.config.settings import (
    BrakeSettings,
    GroupSettings,
    HostSettings,
    MemberSettings,
    Settings,
    VolumeSettings,
)
from csfs.config.tables import Complaints, Table
from csfs.config.values import duration, one_of, pattern
from csfs.core import synchrony
from csfs.core.groups import DEFAULT_POLICY, Pattern, compiled_include
from csfs.core.policies import MERGE
from csfs.core.treatment import USUAL_XATTRS, checked_xattr
from csfs.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_OWNERS = re.compile(r"[^\s:/]+(:[^\s:/]+)?")
SERIAL = re.compile(r"[1-9a-f][0-9a-f]{0,39}")


def checked_name(text: str) -> str:
    """Return `text` as the name of a cluster, member or volume.

    Raises:
        ValueError: it cannot be one; names become parts of file names and certificates.
    """
    if not NAME.fullmatch(text):
        raise ValueError(
            f'"{text}" is not a name: letters, digits, ".", "_" and "-", at most 63, a letter or digit first'
        )
    return text


def parse(text: str, file: str = "csfs.toml") -> Settings:
    """Return the settings that `text` writes; `file` is what complaints call it.

    Raises:
        ConfigError: with every complaint, one a line.
    """
    complaints = Complaints(file)
    top = Table(_toml(text, file), "", complaints)
    revision = top.integer("revision", 1, 1)
    cluster = _name(top, "cluster")
    members = tuple(_member(name, table, complaints) for name, table in top.table("members").entries())
    names = tuple(member.name for member in members)
    if not names:
        complaints.add("members", "there is none; write a table [members.NAME] for each host")
    volumes = tuple(_volume(name, table, names, complaints) for name, table in top.table("volumes").entries())
    revoked = top.parsed("revoked", (), _serial)
    top.finish()
    _complain_of_nested_paths(volumes, names, complaints)
    _raise(complaints)
    return Settings(cluster, members, volumes, revision, tuple(sorted(revoked)))


def _serial(text: str) -> str:
    if not SERIAL.fullmatch(text):
        raise ValueError(f'"{text}" is no serial number: lower-case hexadecimal digits without zeros in front')
    return text


def parse_host(text: str, file: str = "member.toml") -> HostSettings:
    """Return what `text` says of this host.

    Raises:
        ConfigError: with every complaint, one a line.
    """
    complaints = Complaints(file)
    top = Table(_toml(text, file), "", complaints)
    member = _name(top, "member")
    listen = _listen(top)
    send_rates = _send_rates(top)
    log = top.table("log")
    level = log.choice("level", settings.LOG_LEVELS, "info")
    log.finish()
    top.finish()
    _raise(complaints)
    return HostSettings(member, listen, level, send_rates)


def _send_rates(top: Table) -> tuple[tuple[str, str], ...]:
    if not top.is_table("send_rate"):
        rate = top.string("send_rate", settings.OFF)
        _complain_of_rate(top, "send_rate", rate)
        return () if rate == settings.OFF else ((settings.DEFAULT_PATH, rate),)
    own = top.table("send_rate")
    rates = tuple(sorted((key, own.string(key)) for key in own.names()))
    for key, rate in rates:
        _complain_of_rate(own, key, rate)
    return () if rates == ((settings.DEFAULT_PATH, settings.OFF),) else rates


def _complain_of_rate(table: Table, key: str, rate: str) -> None:
    try:
        if rate != settings.OFF and sizes.parsed(rate) < settings.SEND_RATE_MIN:
            table.complain(key, f'"{rate}" is too little to be of use: 64K bytes a second is the least')
    except ValueError as error:
        table.complain(key, f'{error} (a second), or "{settings.OFF}"')


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None


def _raise(complaints: Complaints) -> None:
    if len(complaints.lines) == 1:
        raise ConfigError(f"{complaints.file}: {complaints.lines[0]}")
    if complaints.lines:
        lines = "".join(f"\n  {line}" for line in complaints.lines)
        raise ConfigError(f"{complaints.file}: {len(complaints.lines)} complaints{lines}")


def _name(table: Table, key: str) -> str:
    text = table.string(key)
    try:
        return checked_name(text) if text else text
    except ValueError as error:
        table.complain(key, str(error))
        return text


def _complain_of_name(name: str, table: Table, complaints: Complaints) -> None:
    try:
        checked_name(name)
    except ValueError as error:
        complaints.add(table.key_path, str(error))


def _listen(top: Table) -> tuple[addresses.Address, ...]:
    if top.is_string("listen", settings.OFF):
        return ()
    return top.parsed("listen", ("*",), addresses.to_listen_on)


def _member(name: str, table: Table, complaints: Complaints) -> MemberSettings:
    _complain_of_name(name, table, complaints)
    if name == settings.DEFAULT_PATH:
        complaints.add(table.key_path, f'no member may be called "{name}": it stands for all of them in path.{name}')
    address = table.parsed("address", (), addresses.parsed)
    for one in address:
        if one.is_anywhere:
            table.complain("address", f"{one} is no address to call; write the name or address that peers reach")
    table.finish()
    return MemberSettings(name, address)


def _volume(name: str, table: Table, members: tuple[str, ...], complaints: Complaints) -> VolumeSettings:
    _complain_of_name(name, table, complaints)
    paths = _paths(table, members)
    profile = table.choice("profile", tuple(PROFILES), "")
    watch = table.boolean("watch", True)
    compare = duration(table, "compare", settings.DEFAULT_COMPARE, settings.NEVER)
    brake = _brake(table)
    owners = _owners(table, members)
    apply = table.choice("apply", settings.APPLY_MODES, settings.APPLY_MODES[0])
    groups = tuple(_group(group, members) for group in table.tables("groups"))
    validators = tuple(validator_of(validator) for validator in table.tables("validators"))
    actions = tuple(action_of(action, members) for action in table.tables("actions"))
    table.finish()
    return VolumeSettings(name, paths, profile, groups, watch, compare, brake, owners, apply, validators, actions)


def _brake(table: Table) -> BrakeSettings | None:
    usual = settings.DEFAULT_BRAKE
    if not table.is_table("brake"):
        wanted = f'"{settings.OFF}", or brake.share = {usual.share} (percent of the volume)'
        text = table.string("brake", "", wanted)
        if text not in ("", settings.OFF):
            table.complain("brake", f"must be {wanted}")
        return None if text == settings.OFF else usual
    own = table.table("brake")
    share, paths = own.integer("share", usual.share, 1), own.integer("paths", usual.paths, 1)
    if share > 100:
        own.complain(
            "share", f'{share} percent is more than there is; brake = "{settings.OFF}" lets everything through'
        )
    own.finish()
    return BrakeSettings(share, paths)


def _paths(table: Table, members: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if not table.is_table("path"):
        path = table.string("path")
        if path:
            _complain_of_path(table, "path", path)
        return ((settings.DEFAULT_PATH, path),)
    own = _by_member(table, "path", members)
    paths = tuple(sorted((key, own.string(key)) for key in own.names()))
    for key, path in paths:
        _complain_of_path(own, key, path)
    if not paths:
        table.complain("path", 'is empty; write path = "/directory", or path.MEMBER = "/directory"')
    return paths


def _owners(
    table: Table, members: tuple[str, ...], usual: str = settings.DEFAULT_OWNERS
) -> tuple[tuple[str, str], ...]:
    """Return how owners are told, `usual` of which need not be said."""
    if not table.is_table("owners"):
        choice = table.string("owners", usual)
        if choice != usual:
            _complain_of_owners(table, "owners", choice)
        return () if choice == usual else ((settings.DEFAULT_PATH, choice),)
    own = _by_member(table, "owners", members)
    owners = tuple(sorted((key, own.string(key)) for key in own.names()))
    for key, choice in owners:
        _complain_of_owners(own, key, choice)
    return owners


def _devices(table: Table, members: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
    if not table.is_table("devices"):
        return () if table.boolean("devices", True) else ((settings.DEFAULT_PATH, False),)
    own = _by_member(table, "devices", members)
    return tuple(sorted((key, own.boolean(key, True)) for key in own.names()))


def _by_member(table: Table, key: str, members: tuple[str, ...]) -> Table:
    """Return a table that says something for each member."""
    own = table.table(key)
    for name in own.names():
        if name not in members and name != settings.DEFAULT_PATH:
            own.complain(name, f"no member of this name; there are: {', '.join(members)}, and default for the rest")
    return own


def _complain_of_owners(table: Table, key: str, choice: str) -> None:
    if not _OWNERS.fullmatch(choice):
        table.complain(
            key, f'"{choice}" must be "name", "numeric", or the USER or USER:GROUP who is to have everything there'
        )


def _complain_of_path(table: Table, key: str, path: str) -> None:
    if not path.startswith("/") or "\0" in path or normpath(path) != path or path.startswith("//"):
        table.complain(key, f'"{path}" must be an absolute path without "..", "//" or a slash at its end')
    elif path == "/":
        table.complain(key, "the root of the system cannot be a volume; name a directory")


def _group(table: Table, cluster: tuple[str, ...]) -> GroupSettings:
    members = table.parsed("members", (), one_of("member", cluster))
    receive_only = table.parsed("receive_only", (), one_of("member", cluster))
    include = table.parsed("include", ("/",), pattern(compiled_include))
    exclude = table.parsed("exclude", (), pattern(Pattern.compiled))
    policy = table.parsed("policy", DEFAULT_POLICY, one_of("policy", settings.POLICIES))
    if MERGE in policy[1:]:
        table.complain("policy", f'"{MERGE}" must come first: it is tried before anything is decided')
    on_local_change = table.choice("on_local_change", settings.LOCAL_CHANGES, settings.LOCAL_CHANGES[0])
    sync = _sync(table)
    sync_timeout = duration(table, "sync_timeout", settings.DEFAULT_SYNC_TIMEOUT)
    on_sync_timeout = table.choice("on_sync_timeout", settings.SYNC_TIMEOUTS, settings.SYNC_TIMEOUTS[0])
    owners, devices = _owners(table, cluster, ""), _devices(table, cluster)
    xattrs = table.parsed("xattrs", USUAL_XATTRS, checked_xattr)
    sockets, flags, keep_local = (table.boolean(key, False) for key in ("sockets", "flags", "keep_local"))
    table.finish()
    for name in set(members) & set(receive_only):
        table.complain("receive_only", f"{name} is among members too; name it in one of them")
    if not set(members or cluster) - set(receive_only):
        table.complain("receive_only", "leaves nobody who may write; take one out")
    rest = (sync, sync_timeout, on_sync_timeout, owners, xattrs, sockets, devices, flags, keep_local)
    group = GroupSettings(members, receive_only, include, exclude, policy, on_local_change, *rest)
    complaint = settings.lacking(group, cluster)
    if complaint:
        table.complain("sync", complaint)
    return group


def _sync(table: Table) -> str:
    text = table.string("sync", settings.DEFAULT_SYNC)
    try:
        synchrony.parsed(text)
    except ValueError as error:
        table.complain("sync", str(error))
        return settings.DEFAULT_SYNC
    return text


def _complain_of_nested_paths(
    volumes: tuple[VolumeSettings, ...], members: tuple[str, ...], complaints: Complaints
) -> None:
    """No directory may belong to two volumes: a write there would be replicated twice, and end differently."""
    seen = set()
    for member in members:
        places = sorted((path, volume.name) for volume in volumes if (path := volume.path_of(member)))
        for (upper, first), (lower, second) in combinations(places, 2):
            if (lower == upper or lower.startswith(upper + "/")) and (first, second) not in seen:
                seen.add((first, second))
                complaints.add(f"volumes.{second}.path", f"{lower} lies in {upper} of volume {first} at {member}")
