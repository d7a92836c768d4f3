"""How one member shows, and reads, what is in a group: whose it is, which extended attributes count, which kinds of objects do."""

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
def carried_by(patterns: tuple[str, ...]) -> Carried:
    """Return what a configuration's patterns mean."""
    names = (text.encode() for text in patterns if not text.endswith("*"))
    return Carried(frozenset(names), tuple(text[:-1].encode() for text in patterns if text.endswith("*")))


USUALLY_CARRIED: Final = carried_by(USUAL_XATTRS)
EVERYTHING: Final = carried_by(("user.*", "system.*", "security.*", "trusted.*"))
"""All that may be carried at all."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """`owners`: by name, by number, or USER[:GROUP] who has everything here. `devices`, `sockets`: whether these are made and told."""

    owners: str = BY_NAME
    xattrs: tuple[str, ...] = USUAL_XATTRS
    sockets: bool = False
    devices: bool = True

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
