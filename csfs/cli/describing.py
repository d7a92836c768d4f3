"""The configuration for programs: plain values with every default and profile filled in."""

from csfs.config import render
from csfs.config.settings import HostSettings, Settings, VolumeSettings
from csfs.core.groups import GroupRule
from csfs.core.synchrony import Mode, Synchrony


def configuration(settings: Settings, host: HostSettings) -> dict[str, object]:
    """Return all of the cluster's and of this host's configuration."""
    return {
        "cluster": settings.cluster,
        "revision": settings.revision,
        "digest": render.digest(settings).hex(),
        "revoked": list(settings.revoked),
        "member": host.member,
        "listen": [str(address) for address in host.listen],
        "log_level": host.log_level,
        "send_rates": {one.name: host.send_rate(one.name) for one in settings.members if one.name != host.member},
        "members": {member.name: [str(address) for address in member.address] for member in settings.members},
        "volumes": {one.name: volume(settings, one, host.member) for one in settings.volumes},
    }


def volume(settings: Settings, described: VolumeSettings, member: str) -> dict[str, object]:
    """Return one volume as `member` sees it; `path` is None where it has none."""
    return {
        "path": described.path_of(member),
        "paths": dict(described.paths),
        "profile": described.profile,
        "watch": described.watch,
        "compare": described.compare,
        "brake": {"share": described.brake.share, "paths": described.brake.paths} if described.brake else None,
        "owners": described.owners_at(member),
        "apply": described.apply,
        "validators": [
            {"paths": list(one.paths), "command": list(one.command), "optional": one.optional}
            for one in settings.validators(described.name)
        ],
        "actions": [
            {
                "paths": list(one.paths),
                "command": list(one.command),
                "on": one.on,
                "members": list(one.members),
                "settle_s": one.settle_s,
                "timeout_s": one.timeout_s,
            }
            for one in described.actions
        ],
        "groups": [_group(rule) for rule in settings.volume_rules(described.name, member).rules],
    }


def _group(rule: GroupRule) -> dict[str, object]:
    return {
        "members": list(rule.members),
        "receive_only": list(rule.receive_only),
        "include": list(rule.include),
        "exclude": list(rule.exclude),
        "policy": list(rule.policy),
        "on_local_change": "refuse" if rule.refuses else "revert",
        "sync": _sync(rule.synchrony),
        "sync_timeout_s": rule.synchrony.timeout_s,
        "on_sync_timeout": "fail" if rule.synchrony.fails else "report",
        "owners": rule.treatment.owners,
        "xattrs": list(rule.treatment.xattrs),
        "sockets": rule.treatment.sockets,
        "devices": rule.treatment.devices,
        "flags": rule.treatment.flags,
        "keep_local": rule.treatment.keep_local,
    }


def _sync(synchrony: Synchrony) -> str:
    return f"durable({synchrony.others})" if synchrony.mode is Mode.DURABLE else synchrony.mode.value
