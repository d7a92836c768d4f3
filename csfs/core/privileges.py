"""What meta may grant: privileges that count for one content alone, and permissions that concurrent changes all allow (R5)."""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from csfs.core.objects import Meta, Xattrs

SET_ID: Final = 0o6000
SHARED_PERMISSIONS: Final = 0o077
"""What group and others may do."""
SECURITY: Final = b"security."
ACCESS_ACL: Final = b"system.posix_acl_access"

# posix_acl_xattr.h: a version (4 bytes), then entries of tag, permissions (2 bytes each) and id (4 bytes), little-endian.
_ACL_HEADER_SIZE: Final = 4
_acl_entry = struct.Struct("<HHI")
_ACL_GROUP, _ACL_MASK, _ACL_OTHER = 0x04, 0x10, 0x20


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
    xattrs = tuple((n, _limited_acl(v, allowed) if n == ACCESS_ACL else v) for n, v in meta.xattrs)
    return msgspec.structs.replace(meta, mode=meta.mode & (~SHARED_PERMISSIONS | allowed), xattrs=xattrs)


def _limited_acl(encoded: bytes, allowed: int) -> bytes:
    """Return an access ACL whose group class and others have at most `allowed`; one that is malformed as it is."""
    body = encoded[_ACL_HEADER_SIZE:]
    if len(body) % _acl_entry.size:
        return encoded
    entries = list(_acl_entry.iter_unpack(body))
    has_mask = any(tag == _ACL_MASK for tag, _, _ in entries)
    group_tag = _ACL_MASK if has_mask else _ACL_GROUP
    limits = {group_tag: allowed >> 3 & 7, _ACL_OTHER: allowed & 7}
    packed = [_acl_entry.pack(tag, permissions & limits.get(tag, 7), who) for tag, permissions, who in entries]
    return encoded[:_ACL_HEADER_SIZE] + b"".join(packed)
