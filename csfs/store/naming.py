"""Who is named in ACLs: told to other hosts by name, and set by the numbers that he has here, as the owner of a file is.

Whoever is not known here is left out: the number that he has elsewhere may be somebody else's here.
"""

from collections.abc import Iterable

from csfs.core import acls
from csfs.core.acls import USER, Entry
from csfs.core.objects import Xattrs
from csfs.store.attributes import Target, read_xattrs
from csfs.store.owners import Owners
from csfs.store.treating import Treated


def told_xattrs(target: Target, treated: Treated) -> Xattrs:
    """Return the carried xattrs of an object as they are told to other hosts."""
    return with_names(read_xattrs(target, treated.carried), treated.owners)


def with_names(xattrs: Xattrs, owners: Owners) -> Xattrs:
    """Return xattrs of this host with the names of whoever has one, which takes nothing where there are no ACLs."""
    if not (xattrs and any(acls.is_acl(name) for name, _ in xattrs)):
        return xattrs

    def name_of(tag: int, number: int) -> str:
        return owners.user_name(number) if tag == USER else owners.group_name(number)

    return tuple((name, acls.named(value, name_of) if acls.is_acl(name) else value) for name, value in xattrs)


def with_numbers(xattrs: Xattrs, owners: Owners) -> tuple[Xattrs, tuple[str, ...]]:
    """Return xattrs as this host's file systems take them, and whom they leave out because nobody here is called so."""
    if not (xattrs and any(acls.is_acl(name) for name, _ in xattrs)):
        return xattrs, ()

    def number_of(entry: Entry) -> int | None:
        look_up = owners.user_number if entry.tag == USER else owners.group_number
        return look_up(entry.name, entry.number)

    values, unknown = list[tuple[bytes, bytes]](), list[Entry]()
    for name, value in xattrs:
        left_out = list[Entry]()
        if acls.is_acl(name):
            value, left_out = acls.numbered(value, number_of)
        values.append((name, value))
        unknown += left_out
    return tuple(values), acls.strangers(unknown)


def known(strangers: Iterable[str], owners: Owners) -> bool:
    """Return whether any of those that an ACL left out is known to this host by now."""
    for kind, name in (stranger.split(" ", 1) for stranger in strangers):
        look_up = owners.user_number if kind == acls.KINDS[USER] else owners.group_number
        if look_up(name, None) is not None:
            return True
    return False
