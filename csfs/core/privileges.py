"""What meta may grant: privileges that count for one content alone, and permissions that concurrent changes all allow (R5)."""

from collections.abc import Sequence
from typing import Final

import msgspec

from csfs.core import acls
from csfs.core.objects import Meta, Xattrs

SET_ID: Final = 0o6000
SHARED_PERMISSIONS: Final = 0o077
"""What group and others may do."""
SECURITY: Final = b"security."


def has_privileges(mode: int, xattrs: Xattrs) -> bool:
    """Return whether an object grants its user more than its bytes alone."""
    return bool(mode & SET_ID) or any(name.startswith(SECURITY) for name, _ in xattrs)


def without_privileges(meta: Meta) -> Meta:
    """Return `meta` for a content that it was not given to."""
    if not has_privileges(meta.mode, meta.xattrs):
        return meta
    harmless = tuple((name, value) for name, value in meta.xattrs if not name.startswith(SECURITY))
    return msgspec.structs.replace(meta, mode=meta.mode & ~SET_ID, xattrs=harmless)


def limited(meta: Meta, others: Sequence[Meta]) -> Meta:
    """Return `meta` with what group and others may do limited to what all of `others` allow, the ACL's mask included."""
    allowed = SHARED_PERMISSIONS
    for other in others:
        allowed &= other.mode
    if meta.mode & SHARED_PERMISSIONS & ~allowed == 0:
        return meta
    xattrs = tuple((n, acls.limited(v, allowed) if n == acls.ACCESS_ACL else v) for n, v in meta.xattrs)
    return msgspec.structs.replace(meta, mode=meta.mode & (~SHARED_PERMISSIONS | allowed), xattrs=xattrs)
