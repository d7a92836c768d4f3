"""Mount options: which there are, what each is for, and how the kernel is told.

Three kinds matter here. Flags belong to the place where the volume is mounted and can be changed while it is; the daemon's own way in
is another place, so what peers send arrives on a read-only mount too. What libfuse is told holds for the file system, from
beginning to end. The rest is for mount(8), systemd and the administrator. Names are those of mount(8).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from csfs.errors import CsfsError, ExitCode

READ_ONLY: Final = "ro"
MS_REMOUNT, MS_BIND, MS_RELATIME = 32, 4096, 1 << 21

FLAGS: Final = {
    READ_ONLY: 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "nosymfollow": 256,
    "noatime": 1024,
    "nodiratime": 2048,
    "strictatime": 1 << 24,
}
"""Each flag's number in mount(2)."""

_NO_ATIME = frozenset({"noatime", "strictatime"})
_OWNED = frozenset({"nosuid", "nodev"})
_CHANGES: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    **{flag: (frozenset({flag}), frozenset()) for flag in FLAGS},
    "noatime": (frozenset({"noatime"}), _NO_ATIME),
    "strictatime": (frozenset({"strictatime"}), _NO_ATIME),
    "relatime": (frozenset(), _NO_ATIME),
    "atime": (frozenset(), frozenset({"noatime"})),
    "nostrictatime": (frozenset(), frozenset({"strictatime"})),
    "diratime": (frozenset(), frozenset({"nodiratime"})),
    "rw": (frozenset(), frozenset({READ_ONLY})),
    "suid": (frozenset(), frozenset({"nosuid"})),
    "dev": (frozenset(), frozenset({"nodev"})),
    "exec": (frozenset(), frozenset({"noexec"})),
    "symfollow": (frozenset(), frozenset({"nosymfollow"})),
    "defaults": (frozenset(), frozenset({READ_ONLY, "noexec"}) | _OWNED),
    "user": (_OWNED | {"noexec"}, frozenset()),
    "users": (_OWNED | {"noexec"}, frozenset()),
    "owner": (_OWNED, frozenset()),
    "group": (_OWNED, frozenset()),
}
"""Option to the flags it sets and the flags it takes away (first)."""

_LASTING: Final = frozenset({"sync", "dirsync"})
_CONTEXTS: Final = ("context", "fscontext", "defcontext", "rootcontext")
_FOR_OTHERS: Final = frozenset(
    {"_netdev", "auto", "noauto", "nofail", "nouser", "noowner", "nogroup"}  # mount(8) and systemd act on these
    | {"async", "norelatime", "allow_other", "default_permissions"}  # so anyway
    | {"loud", "silent", "mand", "nomand", "iversion", "noiversion", "lazytime", "nolazytime"}  # nothing to FUSE
)
_FOR_OTHERS_BEGINNINGS: Final = ("x-", "X-", "comment=", "pri=")
_WHOLE = re.compile(r'(?:[^,"]|"[^"]*")+')


class UnknownOptionError(CsfsError):
    """There is no such mount option."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class MountOptions:
    """Options that were understood. `lasting` is what libfuse is told, a text each; `flags` are names of `FLAGS`."""

    flags: frozenset[str] = frozenset()
    lasting: frozenset[str] = frozenset()
    remount: bool = False
    home: str | None = None

    @property
    def has_context(self) -> bool:
        """Whether all that is in the volume is to have one label of SELinux."""
        return any(option.startswith(("context=", "fscontext=")) for option in self.lasting)


NO_OPTIONS: Final = MountOptions()


def parsed(
    texts: Iterable[str],
    *,
    before: frozenset[str] = frozenset(),
    present: frozenset[str] = frozenset(),
    sloppy: bool = False,
) -> MountOptions:
    """Return what options, separated by commas, ask for; what comes later wins.

    Of a volume that is mounted, `before` are the flags and `present` all options that it shows, which may be said again. With
    `sloppy`, what is not known is passed over.

    Raises:
        UnknownOptionError: there is no such option.
    """
    flags, lasting, remount, home = before, set(present & _LASTING), False, None
    for option in (found for text in texts for found in _WHOLE.findall(text)):
        name, _, value = option.partition("=")
        if option in _CHANGES:
            added, removed = _CHANGES[option]
            flags = (flags - removed) | added
        elif option == "remount":
            remount = True
        elif name == "home" and value:
            home = value
        elif option in _LASTING or (name in _CONTEXTS and value):
            lasting.add(option)
        elif not (option in _FOR_OTHERS or option.startswith(_FOR_OTHERS_BEGINNINGS) or option in present or sloppy):
            raise UnknownOptionError(f'there is no mount option "{option}"; mount.csfs(8) lists those that there are')
        if option == "async":
            lasting.discard("sync")
    return MountOptions(flags, frozenset(lasting), remount, home)


def number_of(flags: frozenset[str]) -> int:
    """Return what mount(2) is told to give a place these flags and no others."""
    number = MS_REMOUNT | MS_BIND | sum(FLAGS[flag] for flag in flags)
    return number if flags & _NO_ATIME else number | MS_RELATIME


def flags_of(options: str) -> frozenset[str]:
    """Return the flags among options as mountinfo shows them."""
    return frozenset(options.split(",")) & FLAGS.keys()


def immutable(options: MountOptions, present: frozenset[str]) -> list[str]:
    """Return those that differ from what the mounted volume shows, and cannot be changed while it is mounted."""
    return sorted((options.lasting - present) | ((present & _LASTING) - options.lasting))


def for_libfuse(option: str) -> str:
    """Return one option as libfuse reads it: a comma within it would begin another."""
    return option.replace(",", "\\,")
