"""What is shown once attributes were set, and flags."""

import msgspec

from csfs.core.objects import LeftOut, Observation, Stamp
from csfs.core.rows import Plan
from csfs.core.treatment import FLAGS, flags_in
from csfs.replicate.works import Work
from csfs.store.naming import with_names
from csfs.store.treating import Treated
from csfs.wire.control import Attributes


def with_attributes(plan: Plan, set_: Attributes, stamp: Stamp, treated: Treated, left_out: LeftOut) -> Observation:
    """Return what is shown once these attributes are set as planned, but for the xattrs that the file system will not have."""
    base = plan.base
    assert base is not None
    uid, gid = base.uid if set_.uid is None else set_.uid, base.gid if set_.gid is None else set_.gid
    refused = {name for name, _ in left_out}
    xattrs = base.xattrs
    if set_.xattrs is not None:
        xattrs = with_names(tuple(one for one in set_.xattrs if one[0] not in refused), treated.owners)
    owner, group = treated.owners.names(uid, gid)
    return msgspec.structs.replace(
        base,
        stamp=stamp,
        mode=base.mode if set_.mode is None else set_.mode,
        uid=uid,
        gid=gid,
        owner=owner,
        group=group,
        mtime_ns=stamp.mtime_ns,
        xattrs=xattrs,
    )


def flags_of(plan: Plan, treated: Treated) -> bytes:
    """Return the flags that what is installed is to have here."""
    return flags_in(treated.carried.of(plan.meta.xattrs)) if plan.meta is not None else b""


def with_flags(built: Observation, work: Work, treated: Treated, left_out: LeftOut) -> Observation:
    """Return what is shown once what was built is installed, and has its flags, if the file system has any.

    What was linked to, or overwritten where it is, has those that it had.
    """
    flags = flags_of(work.plan, treated) if work.built is not None and not work.overwrites else b""
    if not flags or any(name == FLAGS for name, _ in left_out):
        return built
    return msgspec.structs.replace(built, xattrs=tuple(sorted(((FLAGS, flags), *built.xattrs))))
