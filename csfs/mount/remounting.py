"""`mount -o remount`: changes the flags of a volume while it is mounted."""

import errno
import os
from collections.abc import Iterable

from csfs.errors import ConfigError, FoundError, NotRunningError
from csfs.mount import busy, mountinfo, options, syscalls


def remount(path: str, texts: Iterable[str], *, sloppy: bool = False, dry: bool = False) -> None:
    """Change the options of the volume mounted at `path`; those that are not named stay. With `dry`, see only whether it could be.

    Raises:
        NotRunningError: nothing of csfs is mounted there.
        ConfigError: an option cannot be changed, or there is none of that name.
        FoundError: programs that write keep it from becoming read-only.
    """
    path = mountinfo.real_path(path)
    mount = mountinfo.top_at(mountinfo.current(), path)
    if mount is None or mount.type != mountinfo.TYPE:
        raise NotRunningError(f"{path} is not mounted by csfs; there is nothing to remount")
    present = frozenset(mount.options.split(",") + mount.lasting.split(","))
    asked = options.parsed(texts, before=options.flags_of(mount.options), present=present, sloppy=sloppy)
    if fixed := options.immutable(asked, present):
        raise ConfigError(
            f"{', '.join(fixed)} cannot be changed while {path} is mounted; csfs umount {path}, then mount it as it shall be"
        )
    if dry:
        return
    try:
        syscalls.remount(os.fsencode(path), options.number_of(asked.flags))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        found = ", ".join(busy.holders(mount)) or "some program"
        raise FoundError(f"{path} cannot become read-only while files are open for writing: {found}") from None
