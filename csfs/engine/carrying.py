"""What was found on a disk, with what it cannot show exactly as it was wanted: what is made of it says that unchanged (R4)."""

import msgspec

from csfs.core import acls
from csfs.core.objects import Applied, Content, Kind, Meta, Observation, Xattrs
from csfs.engine.live import content_of, meta_of, names_kept


def carried_content(applied: Applied, observation: Observation | None) -> Content:
    """Return what was found, with the exact time where the disk shows what it made of it (R4)."""
    content = content_of(observation)
    before = applied.observation
    if observation is None or before is None or applied.mtime_ns is None or content.kind is Kind.DIRECTORY:
        return content
    if before.mtime_ns != observation.mtime_ns:
        return content
    return msgspec.structs.replace(content, mtime_ns=applied.mtime_ns)


def carried_meta(applied: Applied, observation: Observation | None) -> Meta | None:
    """Return what was found, with each field that is still as we set it as it was wanted (R4)."""
    if observation is None:
        return None
    found, wanted, before = meta_of(names_kept(applied.observation, observation)), applied.meta, applied.observation
    if wanted is None or before is None or before.kind is not observation.kind:
        return found
    same_owner, same_group = before.uid == found.uid, before.gid == found.gid
    return Meta(
        wanted.mode if before.mode == found.mode else found.mode,
        wanted.uid if same_owner else found.uid,
        wanted.gid if same_group else found.gid,
        wanted.owner if same_owner else found.owner,
        wanted.group if same_group else found.group,
        _carried_xattrs(wanted.xattrs, before.xattrs, found.xattrs),
    )


def _carried_xattrs(wanted: Xattrs, before: Xattrs, found: Xattrs) -> Xattrs:
    if acls.are_same_here(before, found):
        return wanted
    values, set_before, found_now = dict(wanted), dict(before), dict(found)
    for name in set_before.keys() | found_now.keys():
        if name not in found_now:
            values.pop(name, None)
        elif set_before.get(name) != found_now[name]:
            values[name] = acls.carried(name, values.get(name), set_before.get(name), found_now[name])
    return tuple(sorted(values.items()))
