"""POSIX access control lists: as the kernel encodes them (posix_acl_xattr.h), and with the names of whom they are about.

The kernel's: a version (4 bytes), then entries of tag, permissions (2 bytes each) and id (4 bytes), little-endian. It takes named
users, and named groups, in any order, and keeps it: two lists that say the same may differ in that.

Where somebody has a name, a list is told with it: `_NAMED`, then entries of tag, permissions, id, and a name in UTF-8 with its size (2
bytes) before it. No file system takes that. Whoever has a name is meant by it, wherever that is known; the number is what he has where
he was named, and is for members that go by numbers. Here, on one disk, numbers alone count. A list that is malformed is taken as it is.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from csfs.core.objects import Xattrs
from csfs.core.paths import shown

ACCESS_ACL: Final = b"system.posix_acl_access"
ACL_PREFIX: Final = b"system.posix_acl_"
USER, GROUP = 0x02, 0x08
"""Tags of entries about somebody: the others are about the owner, his group, or everybody."""
NAME_SIZE_MAX: Final = 256
NAMED_SIZE_MAX: Final = 262_144
"""Bytes of a list with names; the kernel's are at most a quarter of that. What would be longer is told without them."""
KINDS: Final = {USER: "user", GROUP: "group"}
_VERSION: Final = b"\x02\0\0\0"
_NAMED: Final = b"acl\x01"
_entry: Final = struct.Struct("<HHI")
_named_entry: Final = struct.Struct("<HHIH")
_OWNER, _OWNING_GROUP, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20
_WORDS: Final = KINDS | {_OWNER: "user", _OWNING_GROUP: "group", _MASK: "mask", _OTHER: "other"}


class Entry(NamedTuple):
    """Whom it is about (`number` and `name` of a user or group, if it is about one), and what he may do."""

    tag: int
    permissions: int
    number: int
    name: str = ""

    @property
    def who(self) -> tuple[int, str | int]:
        """Whom it is about, everywhere: by name, by number where there is none."""
        return self.tag, self.name or self.number

    @property
    def here(self) -> tuple[int, int]:
        """Whom it is about on one disk."""
        return self.tag, self.number


def is_acl(name: bytes) -> bool:
    """Return whether an extended attribute of this name is an access control list."""
    return name.startswith(ACL_PREFIX)


def entries_of(encoded: bytes) -> list[Entry] | None:
    """Return the entries of a list, with or without names; None if it is malformed."""
    if encoded.startswith(_VERSION):
        body = encoded[len(_VERSION) :]
        return None if len(body) % _entry.size else [Entry(*fields) for fields in _entry.iter_unpack(body)]
    return _named_entries(encoded) if encoded.startswith(_NAMED) else None


def _named_entries(encoded: bytes) -> list[Entry] | None:
    entries, offset = list[Entry](), len(_NAMED)
    try:
        while offset < len(encoded):
            tag, permissions, number, size = _named_entry.unpack_from(encoded, offset)
            offset += _named_entry.size + size
            name = encoded[offset - size : offset].decode()
            if offset > len(encoded) or size > NAME_SIZE_MAX or "\0" in name or (name and tag not in (USER, GROUP)):
                return None
            entries.append(Entry(tag, permissions, number, name))
    except (struct.error, UnicodeDecodeError):
        return None
    return entries


def packed(entries: Iterable[Entry]) -> bytes:
    """Return a list as every list of these entries is returned: the kernel's encoding if nobody in it has a name."""
    entries = sorted(entries, key=lambda entry: (entry.tag, entry.name, entry.number))
    if not any(entry.name for entry in entries):
        return _VERSION + b"".join(_entry.pack(*entry[:3]) for entry in entries)
    named = _NAMED + b"".join(_with_name(*entry) for entry in entries)
    return named if len(named) <= NAMED_SIZE_MAX else packed(entry._replace(name="") for entry in entries)


def _with_name(tag: int, permissions: int, number: int, name: str) -> bytes:
    encoded = name.encode()
    return _named_entry.pack(tag, permissions, number, len(encoded)) + encoded


def ordered(encoded: bytes) -> bytes:
    """Return a list as every list that says the same is returned; one that is malformed as it is."""
    entries = entries_of(encoded)
    return encoded if entries is None else packed(entries)


def limited(encoded: bytes, allowed: int) -> bytes:
    """Return an access ACL whose group class and others have at most the bits of the mode `allowed`; one that is malformed as it is."""
    entries = entries_of(encoded)
    if entries is None:
        return encoded
    has_mask = any(entry.tag == _MASK for entry in entries)
    limits: Mapping[int, int] = {_MASK if has_mask else _OWNING_GROUP: allowed >> 3 & 7, _OTHER: allowed & 7}
    return packed(entry._replace(permissions=entry.permissions & limits.get(entry.tag, 7)) for entry in entries)


def with_mode(xattrs: Xattrs, mode: int) -> Xattrs:
    """Return `xattrs` as chmod leaves them, which sets owner, mask (or group, where none is) and others of the access ACL."""
    return tuple((name, _with_mode(value, mode) if name == ACCESS_ACL else value) for name, value in xattrs)


def _with_mode(encoded: bytes, mode: int) -> bytes:
    entries = entries_of(encoded)
    if entries is None:
        return encoded
    of_group = _MASK if any(entry.tag == _MASK for entry in entries) else _OWNING_GROUP
    bits: Mapping[int, int] = {_OWNER: mode >> 6 & 7, of_group: mode >> 3 & 7, _OTHER: mode & 7}
    return packed(entry._replace(permissions=bits.get(entry.tag, entry.permissions)) for entry in entries)


def named(encoded: bytes, name_of: Callable[[int, int], str]) -> bytes:
    """Return a list from a disk with the names that its users and groups have there; `name_of` a tag and a number is empty for none."""
    entries = entries_of(encoded) or []
    if not any(entry.tag in (USER, GROUP) for entry in entries):
        return encoded
    told = (e._replace(name=name_of(e.tag, e.number)) if e.tag in (USER, GROUP) else e for e in entries)
    return packed(entry._replace(name="") if len(entry.name.encode()) > NAME_SIZE_MAX else entry for entry in told)


def numbered(encoded: bytes, number_of: Callable[[Entry], int | None]) -> tuple[bytes, list[Entry]]:
    """Return a list for a disk on which users and groups have other numbers, and whom it leaves out because nobody knows him there.

    Somebody who is unknown must not be taken for whoever has his number. Two who have one number may do what both may do.
    """
    entries = entries_of(encoded) or []
    if not any(entry.name for entry in entries):
        return encoded, []
    left_out, joined = list[Entry](), dict[tuple[int, int], Entry]()
    for entry in entries:
        number = number_of(entry) if entry.name else entry.number
        if number is None:
            left_out.append(entry)
            continue
        entry = Entry(entry.tag, entry.permissions, number)
        other = joined.get(entry.here, entry)
        joined[entry.here] = entry._replace(permissions=entry.permissions & other.permissions)
    return packed(joined.values()), left_out


# --------------------------------------------------------------------------------------------- among extended attributes


def meaning(xattrs: Xattrs) -> Xattrs:
    """Return `xattrs` with what is the same for all that mean the same: whoever has a name is meant by it alone."""
    return _each(xattrs, lambda entry: entry._replace(number=0) if entry.name else entry)


def without_names(xattrs: Xattrs) -> Xattrs:
    """Return `xattrs` as they are on the disk that they were read from."""
    return _each(xattrs, lambda entry: entry._replace(name=""))


def names_kept(before: Xattrs, found: Xattrs) -> Xattrs:
    """Return the xattrs that a disk shows with the names from `before` for the numbers in each list that have none now."""
    if before == found:
        return found
    known = {
        (name, e.here): e.name for name, value in before if is_acl(name) for e in entries_of(value) or () if e.name
    }
    if not known:
        return found

    def kept(name: bytes, value: bytes) -> bytes:
        return _changed(
            value, lambda entry: entry if entry.name else entry._replace(name=known.get((name, entry.here), ""))
        )

    return tuple((name, kept(name, value) if is_acl(name) else value) for name, value in found)


def are_same(ours: Xattrs, theirs: Xattrs) -> bool:
    """Return whether two hosts' extended attributes say the same."""
    return ours == theirs or (_names(ours) == _names(theirs) and meaning(ours) == meaning(theirs))


def are_same_here(before: Xattrs, after: Xattrs) -> bool:
    """Return whether one disk has the same extended attributes, whatever names its host has for numbers."""
    return before == after or (_names(before) == _names(after) and without_names(before) == without_names(after))


def may_show(found: Xattrs, wanted: Xattrs) -> bool:
    """Return whether a host may show the one for the other: it may not know everybody who is named, or not take an attribute (R4)."""
    values = dict(wanted)
    return all(name in values and _may_be(name, value, values[name]) for name, value in found)


def unshown(found: Xattrs, wanted: Xattrs) -> list[Entry]:
    """Return who is named in the lists wanted, and is in none of those found for them."""
    if found == wanted:
        return []
    shown = dict(found)
    lists = ((entries_of(value), entries_of(shown[name])) for name, value in wanted if is_acl(name) and name in shown)
    return [entry for ours, theirs in lists if ours and theirs is not None for entry in _Wanted(ours).left_out(theirs)]


def strangers(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return words for whom these named entries are about, in order, each once: `user bob`."""
    return tuple(sorted({f"{KINDS[entry.tag]} {entry.name}" for entry in entries}))


def described(xattrs: Xattrs) -> str:
    """Return the lists among `xattrs` as setfacl takes them: by name where there is one; empty if there is none."""
    words = list[str]()
    for name, value in xattrs:
        prefix = "" if name == ACCESS_ACL else "default:"
        entries = entries_of(value) if is_acl(name) else None
        words += [prefix + _described(entry) for entry in entries or ()]
    return ",".join(words)


def _described(entry: Entry) -> str:
    who = (shown(entry.name.encode()) or str(entry.number)) if entry.tag in KINDS else ""
    bits = "".join(letter if entry.permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
    return f"{_WORDS.get(entry.tag, entry.tag)}:{who}:{bits}"


def carried(name: bytes, wanted: bytes | None, before: bytes | None, found: bytes) -> bytes:
    """Return the list found, with each entry that is still as it was set as it was wanted, and with those that could not be set (R4).

    `before` is what was set for the value wanted. What is no list is as it was found.
    """
    lists = [entries_of(value) for value in (wanted, before, found) if value is not None]
    if not is_acl(name) or len(lists) < 3 or lists[0] is None or lists[1] is None or lists[2] is None:
        return found
    wish, was, there = _Wanted(lists[0]), lists[1], {entry.here: entry for entry in lists[2]}
    left_out = wish.left_out(was)
    # These stand for those who are left out: their numbers have other names here as well.
    strange = [entry for entry in was if wish.meant(entry) is None] if left_out else []
    if any(not _is_still(entry, there.get(entry.here)) for entry in strange):
        strange, left_out = [], []  # whoever has changed one has meant him
    told = {entry.who: entry for entry in left_out}
    still = {entry.here: wish.meant(entry) for entry in was if _is_still(entry, there.get(entry.here))}
    for here in there.keys() - {entry.here for entry in strange}:
        entry = still.get(here) or there[here]
        told[entry.who] = entry
    for entry in wish.entries:
        # A number without a name may be here that of somebody who has one, and is shown for both.
        if entry.tag in KINDS and not entry.name and still.get(entry.here) is not None:
            told.setdefault(entry.who, entry)
    return packed(told.values())


class _Wanted:
    """A list as it is wanted, for comparing it with what a host shows for it."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self._by_who = {entry.who: entry for entry in entries}
        self._named_by_number = {entry.here: entry for entry in entries if entry.name}

    def meant(self, shown: Entry) -> Entry | None:
        """Return what an entry found is shown for: by name, and by number where one of the two has no name."""
        meant = self._by_who.get(shown.who) or self._by_who.get(shown.here)
        return meant or (None if shown.name else self._named_by_number.get(shown.here))

    def left_out(self, found: Iterable[Entry]) -> list[Entry]:
        """Return those with names of which nothing is found."""
        shown = {meant.who for entry in found if (meant := self.meant(entry)) is not None}
        return [entry for entry in self.entries if entry.name and entry.who not in shown]


def _may_be(name: bytes, found: bytes, wanted: bytes) -> bool:
    """Return whether a host may show the one value for the other.

    Somebody may have less than he was given only where he has one number with another who is not shown, and who was given less.
    """
    ours, theirs = (entries_of(found), entries_of(wanted)) if is_acl(name) else (None, None)
    if ours is None or theirs is None:
        return found == wanted
    wish, numbers = _Wanted(theirs), {entry.here for entry in ours}
    shown = {meant.who for entry in ours if (meant := wish.meant(entry)) is not None}
    nameless = {entry.here: entry for entry in theirs if not entry.name}
    joined = {(entry.tag, entry.permissions) for entry in theirs if entry.tag in KINDS and entry.who not in shown}
    for entry in ours:
        meant = wish.meant(entry)
        if meant is None or entry.permissions & ~(meant.permissions & nameless.get(entry.here, meant).permissions):
            return False
        if entry.permissions != meant.permissions and entry.permissions != _least(entry, meant, joined):
            return False
    # Who has no name is there by his number, be it that of somebody with a name as well.
    return all(entry.name or entry.here in numbers for entry in theirs)


def _least(entry: Entry, meant: Entry, joined: Iterable[tuple[int, int]]) -> int:
    """Return what somebody may do at least who may do this, and has one number with others (tags, permissions)."""
    least = meant.permissions
    for tag, permissions in joined:
        if tag == entry.tag and not entry.permissions & ~permissions:
            least &= permissions
    return least


def _is_still(before: Entry, now: Entry | None) -> bool:
    return now is not None and now.permissions == before.permissions


def _names(xattrs: Xattrs) -> list[bytes]:
    return [name for name, _ in xattrs]


def _each(xattrs: Xattrs, change: Callable[[Entry], Entry]) -> Xattrs:
    return tuple((name, _changed(value, change) if is_acl(name) else value) for name, value in xattrs)


def _changed(encoded: bytes, change: Callable[[Entry], Entry]) -> bytes:
    entries = entries_of(encoded)
    return encoded if entries is None else packed(map(change, entries))
