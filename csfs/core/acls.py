"""POSIX access control lists as the kernel encodes them (posix_acl_xattr.h).

A version (4 bytes), then entries of tag, permissions (2 bytes each) and id (4 bytes), little-endian. The kernel takes named users,
and named groups, in any order, and keeps it: two lists that say the same may differ in that.
"""

import struct
from collections.abc import Mapping
from typing import Final

ACCESS_ACL: Final = b"system.posix_acl_access"
ACL_PREFIX: Final = b"system.posix_acl_"
_HEADER_SIZE: Final = 4
_entry: Final = struct.Struct("<HHI")
_GROUP, _MASK, _OTHER = 0x04, 0x10, 0x20

Entry = tuple[int, int, int]
"""Tag, permissions, and the number of whom it is about."""


def ordered(encoded: bytes) -> bytes:
    """Return a list as every list that says the same is returned; one that is malformed as it is."""
    entries = _entries(encoded)
    return encoded if entries is None else _packed(encoded, sorted(entries, key=lambda entry: (entry[0], entry[2])))


def limited(encoded: bytes, allowed: int) -> bytes:
    """Return an access ACL whose group class and others have at most the bits of the mode `allowed`; one that is malformed as it is."""
    entries = _entries(encoded)
    if entries is None:
        return encoded
    has_mask = any(tag == _MASK for tag, _, _ in entries)
    limits: Mapping[int, int] = {_MASK if has_mask else _GROUP: allowed >> 3 & 7, _OTHER: allowed & 7}
    return _packed(encoded, [(tag, permissions & limits.get(tag, 7), who) for tag, permissions, who in entries])


def _entries(encoded: bytes) -> list[Entry] | None:
    body = encoded[_HEADER_SIZE:]
    return None if len(body) % _entry.size else list(_entry.iter_unpack(body))


def _packed(encoded: bytes, entries: list[Entry]) -> bytes:
    return encoded[:_HEADER_SIZE] + b"".join(_entry.pack(*entry) for entry in entries)
