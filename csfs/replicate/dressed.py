"""What is shown once attributes were set."""

import msgspec

from csfs.core.objects import Observation, Stamp
from csfs.core.rows import Plan
from csfs.replicate.works import attributes_of
from csfs.store.treating import Treated


def with_attributes(plan: Plan, stamp: Stamp, treated: Treated) -> Observation:
    """Return what is shown once the attributes are set as planned."""
    base, set_ = plan.base, attributes_of(plan, treated)
    assert base is not None
    uid, gid = base.uid if set_.uid is None else set_.uid, base.gid if set_.gid is None else set_.gid
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
        xattrs=base.xattrs if set_.xattrs is None else set_.xattrs,
    )
