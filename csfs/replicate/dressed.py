"""What is shown once attributes were set."""

import msgspec

from csfs.core.objects import LeftOut, Observation, Stamp
from csfs.core.rows import Plan
from csfs.store.treating import Treated
from csfs.wire.control import Attributes


def with_attributes(plan: Plan, set_: Attributes, stamp: Stamp, treated: Treated, left_out: LeftOut) -> Observation:
    """Return what is shown once these attributes are set as planned, but for the xattrs that the file system will not have."""
    base = plan.base
    assert base is not None
    uid, gid = base.uid if set_.uid is None else set_.uid, base.gid if set_.gid is None else set_.gid
    refused = {name for name, _ in left_out}
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
        xattrs=base.xattrs if set_.xattrs is None else tuple(one for one in set_.xattrs if one[0] not in refused),
    )
