"""Giving a newly built object its owner, mode, xattrs and time, and telling what this host cannot represent."""

import os
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple

from csfs.core.objects import Kind, Xattrs
from csfs.core.privileges import SECURITY
from csfs.core.records import Meta
from csfs.core.treatment import EVERYTHING, FLAGS, flags_in
from csfs.store import syscalls
from csfs.store.attributes import UNABLE, Target, is_unable, read_xattrs, xattrs_in_order
from csfs.store.naming import told_xattrs, with_numbers
from csfs.store.treating import Treated

_LABEL = b"security.selinux"


def own_xattrs(target: Target, treated: Treated) -> Xattrs:
    """Return the xattrs of an object that are this host's own, and go on to what takes its place.

    Privileges do not: they are the bytes' (R5).
    """
    try:
        found = read_xattrs(target, EVERYTHING)
    except OSError:
        return ()
    return tuple((n, v) for n, v in found if not treated.carried(n) and (not n.startswith(SECURITY) or n == _LABEL))


def dress(
    target: Target, kind: Kind, meta: Meta, mtime_ns: int | None, treated: Treated, own: Xattrs = ()
) -> tuple[str, ...]:
    """Set everything of `meta` on an object that nobody else can reach yet; return what could not be represented.

    But for flags: what has those can be given no name any more, so that whoever gives it its last one sets them.
    `own` are xattrs of what it takes the place of (`own_xattrs`).

    Raises:
        OSError: what trying again later may mend, a full disk among it.
    """
    problems: list[str] = []
    uid, gid = treated.owners.ids(meta.owner, meta.uid, meta.group, meta.gid)
    mode = meta.mode
    if not _tried(problems, f"owner {uid}:{gid}", lambda: os.chown(target, uid, gid)):
        mode &= ~(stat.S_ISUID | stat.S_ISGID)  # the bits would lend our rights, not the owner's
    if kind is not Kind.SYMLINK:
        _tried(problems, f"mode {mode:o}", lambda: os.chmod(target, mode))
    xattrs, _ = with_numbers(treated.carried.of(meta.xattrs), treated.owners)
    for name, value in xattrs_in_order((*own, *xattrs)):
        if name != FLAGS:
            _set_xattr(problems, target, name, value)
    if mtime_ns is not None:
        if isinstance(target, int):
            syscalls.set_mtime_of(target, mtime_ns)
        else:
            syscalls.set_mtime(syscalls.AT_FDCWD, target.encode(), mtime_ns, flags=0)
    return tuple(problems)


def _set_xattr(problems: list[str], target: Target, name: bytes, value: bytes) -> None:
    try:
        os.setxattr(target, name, value)
    except OSError as error:
        if not is_unable(target, error):
            raise
        problems.extend(as_problems([(name, error.errno or 0)]))


def as_problems(left_out: Sequence[tuple[bytes, int]]) -> tuple[str, ...]:
    """Return a few words about each xattr that an object cannot have here, and about flags."""
    words = ("flags (chattr)" if name == FLAGS else f"xattr {os.fsdecode(name)}" for name, _ in left_out)
    return tuple(f"{what}: {os.strerror(number)}" for what, (_, number) in zip(words, left_out, strict=True))


def _tried(problems: list[str], what: str, attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        problems.append(f"{what}: {error.strerror}")
        return False
    return True


class Dressing(NamedTuple):
    """What an object gets beside its content."""

    meta: Meta
    mtime_ns: int | None
    treated: Treated
    own: Xattrs

    def put_on(self, target: Target, kind: Kind) -> tuple[tuple[str, ...], Xattrs]:
        """Dress an object; return what could not be represented, and the xattrs that it shows."""
        if isinstance(target, int) and flags_in(self.treated.carried.of(self.meta.xattrs)):
            # To make a file immutable the kernel writes back what is not on the disk yet: the mount would wait for that.
            os.fdatasync(target)
        problems = dress(target, kind, self.meta, self.mtime_ns, self.treated, self.own)
        return problems, told_xattrs(target, self.treated) if self.meta.xattrs else ()
