"""Writes settings as the text that reads back to the same settings, always the same way."""

import hashlib
import json
from collections.abc import Iterable

from csfs.config.commands import ActionSettings
from csfs.config.settings import (
    APPLY_MODES,
    DEFAULT_BRAKE,
    DEFAULT_COMPARE,
    DEFAULT_PATH,
    OFF,
    GroupSettings,
    HostSettings,
    Settings,
    VolumeSettings,
)
from csfs.config.tables import written

HEADER = (
    "# The configuration of this csfs cluster, the same on every member. Each key: csfs.toml(5).\n"
    "# csfs rewrites this file; after an edit by hand raise the revision and run: csfs config check\n"
)
HOST_HEADER = "# What this host alone decides. Each key: csfs.toml(5).\n"
DIGEST_SIZE = 16


def rendered(settings: Settings) -> str:
    """Return the text of csfs.toml; `reader.parse` makes the same settings of it."""
    lines = [HEADER, f"revision = {settings.revision}", f"cluster = {_string(settings.cluster)}"]
    if settings.revoked:
        lines.append(f"revoked = {_list(settings.revoked)}")
    for member in settings.members:
        lines += ["", f"[members.{written(member.name)}]"]
        if member.address:
            lines.append(f"address = {_list(str(address) for address in member.address)}")
    for volume in settings.volumes:
        lines += _volume(volume)
    return "\n".join(lines) + "\n"


def rendered_host(host: HostSettings) -> str:
    """Return the text of member.toml."""
    lines = [
        HOST_HEADER,
        f"member = {_string(host.member)}",
        f"listen = {_list(str(address) for address in host.listen) if host.listen else _string(OFF)}",
        *_send_rates(host),
        "",
        "[log]",
        f"level = {_string(host.log_level)}",
    ]
    return "\n".join(lines) + "\n"


def _send_rates(host: HostSettings) -> list[str]:
    if [peer for peer, _ in host.send_rates] == [DEFAULT_PATH]:
        return [f"send_rate = {_string(host.send_rates[0][1])}"]
    return [f"send_rate.{written(peer)} = {_string(rate)}" for peer, rate in host.send_rates]


def digest(settings: Settings) -> bytes:
    """Return what two members compare to see whether they have the same settings."""
    return hashlib.blake2b(rendered(settings).encode(), digest_size=DIGEST_SIZE).digest()


def _volume(volume: VolumeSettings) -> list[str]:
    key = f"volumes.{written(volume.name)}"
    lines = ["", f"[{key}]"]
    if [member for member, _ in volume.paths] == [DEFAULT_PATH]:
        lines.append(f"path = {_string(volume.paths[0][1])}")
    else:
        lines += [f"path.{written(member)} = {_string(path)}" for member, path in volume.paths]
    if volume.profile:
        lines.append(f"profile = {_string(volume.profile)}")
    if not volume.watch:
        lines.append("watch = false")
    if volume.compare != DEFAULT_COMPARE:
        lines.append(f"compare = {_string(volume.compare)}")
    if volume.brake is None:
        lines.append(f"brake = {_string(OFF)}")
    elif volume.brake != DEFAULT_BRAKE:
        lines += [f"brake.share = {volume.brake.share}", f"brake.paths = {volume.brake.paths}"]
    lines += _by_member("owners", [(member, _string(choice)) for member, choice in volume.owners])
    if volume.apply != APPLY_MODES[0]:
        lines.append(f"apply = {_string(volume.apply)}")
    for group in volume.groups:
        lines += ["", f"[[{key}.groups]]", *_group(group)]
    for validator in volume.validators:
        lines += ["", f"[[{key}.validators]]", f"paths = {_list(validator.paths)}"]
        lines.append(f"command = {_list(validator.command)}")
    for action in volume.actions:
        lines += ["", f"[[{key}.actions]]", *_action(action)]
    return lines


def _action(action: ActionSettings) -> list[str]:
    usual = ActionSettings(action.paths, action.command)
    lines = [f"paths = {_list(action.paths)}", f"command = {_list(action.command)}"]
    for key in ("on", "settle", "timeout"):
        text: str = getattr(action, key)
        if text != getattr(usual, key):
            lines.append(f"{key} = {_string(text)}")
    return lines + ([f"members = {_list(action.members)}"] if action.members else [])


def _group(group: GroupSettings) -> list[str]:
    usual = GroupSettings()
    lines = []
    for key in ("members", "receive_only", "include", "exclude", "policy"):
        value: tuple[str, ...] = getattr(group, key)
        if value != getattr(usual, key):
            lines.append(f"{key} = {_list(value)}")
    for key in ("on_local_change", "sync", "sync_timeout", "on_sync_timeout"):
        text: str = getattr(group, key)
        if text != getattr(usual, key):
            lines.append(f"{key} = {_string(text)}")
    lines += _by_member("owners", [(member, _string(choice)) for member, choice in group.owners])
    if group.xattrs != usual.xattrs:
        lines.append(f"xattrs = {_list(group.xattrs)}")
    lines += [f"{key} = true" for key in ("sockets", "flags", "keep_local") if getattr(group, key)]
    return lines + _by_member("devices", [(member, str(choice).lower()) for member, choice in group.devices])


def _by_member(key: str, choices: list[tuple[str, str]]) -> list[str]:
    """Return what says something for all members, or for some of them."""
    if [member for member, _ in choices] == [DEFAULT_PATH]:
        return [f"{key} = {choices[0][1]}"]
    return [f"{key}.{written(member)} = {choice}" for member, choice in choices]


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(_string(value) for value in values)}]"


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
