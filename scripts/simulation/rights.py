"""ACLs of the simulation's disks: somebody is named in them who has another number at other hosts, or is not known there."""

from collections.abc import Mapping

from csfs.core import acls
from csfs.core.acls import ACCESS_ACL, USER, Entry
from csfs.core.objects import Xattrs

NAMED = ("ann", "cid")
"""Who is ever given rights. Where nobody is called `cid`, another one has the number that he has elsewhere."""
_NOBODY = 0xFFFFFFFF
_BASE = (Entry(0x01, 7, _NOBODY), Entry(0x04, 5, _NOBODY), Entry(0x10, 7, _NOBODY), Entry(0x20, 5, _NOBODY))

Rights = Mapping[str | int, int]
"""What may be done by whom: a name, or a number where there is none."""


def observed(acl: bytes, names: Mapping[int, str]) -> Xattrs:
    """Return what a store would find of a list on a disk, empty for none."""
    return ((ACCESS_ACL, acls.named(acl, lambda tag, number: names.get(number, ""))),) if acl else ()


def shown_for(xattrs: Xattrs, names: Mapping[int, str]) -> bytes:
    """Return the list that a host with these names sets for what is wanted."""
    numbers = {name: number for number, name in names.items()}
    wanted = dict(xattrs).get(ACCESS_ACL, b"")
    return acls.numbered(wanted, lambda entry: numbers.get(entry.name))[0]


def rights_in(xattrs: Xattrs) -> Rights:
    """Return who is named, and what he may do."""
    entries = acls.entries_of(dict(xattrs).get(ACCESS_ACL, b"")) or ()
    return {entry.name or entry.number: entry.permissions for entry in entries if entry.tag == USER}


def changed(acl: bytes, number: int, permissions: int) -> bytes:
    """Return a list with rights for a user, or without those that he has."""
    entries = acls.entries_of(acl) or _BASE
    left = [entry for entry in entries if entry.here != (USER, number)]
    return acls.packed(left if len(left) < len(entries) else (*left, Entry(USER, permissions, number)))


def under(acl: bytes, mode: int) -> bytes:
    """Return a list as chmod leaves it."""
    return dict(acls.with_mode(((ACCESS_ACL, acl),), mode))[ACCESS_ACL]
