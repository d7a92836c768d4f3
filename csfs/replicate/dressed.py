"""What is shown once attributes were set."""

import msgspec

from csfs.core.objects import Observation, Stamp
from csfs.core.rows import Plan
from csfs.replicate.works import attributes_of
from csfs.store.owners import Owners


def with_attributes(plan: Plan, stamp: Stamp, owners: Owners) -> Observation:
    """Return what is shown once the attributes are set as planned."""
    base, set_ = plan.base, attributes_of(plan, owners)
    assert base is not None
    owner, group = owners.names(base.uid if set_.uid is None else set_.uid, base.gid if set_.gid is None else set_.gid)
    return msgspec.structs.replace(
        base,
        stamp=stamp,
        mode=base.mode if set_.mode is None else set_.mode,
        uid=base.uid if set_.uid is None else set_.uid,
        gid=base.gid if set_.gid is None else set_.gid,
        owner=owner,
        group=group,
        mtime_ns=stamp.mtime_ns,
        xattrs=base.xattrs if set_.xattrs is None else set_.xattrs,
    )
