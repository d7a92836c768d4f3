"""How one member shows, reads and keeps what is in a group: whose it is, which attributes, flags and kinds of objects count."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from csfs.core.objects import Kind, Xattrs

BY_NAME, BY_NUMBER = "name", "numeric"
"""How owners are told to other hosts."""
USUAL_XATTRS: Final = ("user.*", "system.posix_acl_*", "security.capability")
_XATTR: Final = re.compile(r"[a-z]+\.(\*|[^*\0]+\*?)")
XATTR_SIZE_MAX: Final = 255
FLAGS: Final = b"csfs.flags"
"""What chattr sets: `a` for append-only, `i` for immutable, both for both. It is told as an extended attribute, of a name that no file
system takes, so that it is represented, left out and carried like any other (R4)."""
_NEVER: Final = (b"security.evm", b"security.ima", b"trusted.overlay.")
"""What each host computes by keys of its own, and what a file system above this one keeps for itself."""


def checked_xattr(text: str) -> str:
    """Return `text` as the name of an extended attribute, or the beginning of names.

    Raises:
        ValueError: it is neither.
    """
    if not _XATTR.fullmatch(text) or len(text.encode()) > XATTR_SIZE_MAX:
        raise ValueError(
            f'"{text}" is no name of an extended attribute, such as "security.selinux", nor their beginning: "user.*"'
        )
    if text.startswith("csfs."):
        raise ValueError(f'"{text}" is no attribute of any file; flags of chattr have an option of their own: flags')
    if text.removesuffix("*").encode().startswith(_NEVER):
        raise ValueError(f'"{text}" is each host\'s own, and cannot be kept the same')
    return text


@dataclass(frozen=True, slots=True)
class Carried:
    """Which extended attributes are kept the same, by their names. The others are each member's own: neither told nor touched."""

    names: frozenset[bytes]
    prefixes: tuple[bytes, ...]

    def __call__(self, name: bytes) -> bool:
        return (name in self.names or name.startswith(self.prefixes)) and not name.startswith(_NEVER)

    def of(self, xattrs: Xattrs) -> Xattrs:
        """Return those of `xattrs` that are kept the same."""
        return xattrs and tuple(pair for pair in xattrs if self(pair[0]))


@cache
def carried_by(patterns: tuple[str, ...], *, flags: bool = False) -> Carried:
    """Return what a configuration's patterns mean; `flags`: those of chattr are kept the same as well."""
    names = frozenset(text.encode() for text in patterns if not text.endswith("*"))
    prefixes = tuple(text[:-1].encode() for text in patterns if text.endswith("*"))
    return Carried(names | {FLAGS} if flags else names, prefixes)


USUALLY_CARRIED: Final = carried_by(USUAL_XATTRS)
EVERYTHING: Final = carried_by(("user.*", "system.*", "security.*", "trusted.*"))
"""All extended attributes that may be carried at all."""


def flags_in(xattrs: Xattrs) -> bytes:
    """Return the flags that are told among extended attributes, empty for none."""
    return next((value for name, value in xattrs if name == FLAGS), b"")


@dataclass(frozen=True, slots=True)
class Treatment:
    """`owners`: by name, by number, or USER[:GROUP] who has everything here. `devices`, `sockets`: whether these are made and told.

    `flags`: whether append-only and immutable objects are so at all members, and changed all the same. `keep_local`: whether the
    content of a file is kept here before a program of this host overwrites or removes it.
    """

    owners: str = BY_NAME
    xattrs: tuple[str, ...] = USUAL_XATTRS
    sockets: bool = False
    devices: bool = True
    flags: bool = False
    keep_local: bool = False

    def leaves_out(self, kind: Kind) -> bool:
        """Return whether objects of this kind are neither made here nor told to others."""
        match kind:
            case Kind.SOCKET:
                return not self.sockets
            case Kind.CHARACTER_DEVICE | Kind.BLOCK_DEVICE:
                return not self.devices
            case _:
                return False


USUAL: Final = Treatment()
