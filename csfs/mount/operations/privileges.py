"""What a file loses when its content or owner changes: setuid, setgid, capabilities. The kernel's rules, where it leaves them to us."""

import os
import stat

import pyfuse3

from csfs.mount.writers import Caller


def cleared(status: os.stat_result, caller: Caller) -> int:
    """Return the mode bits that a change of content by `caller`, who has no right to keep them, takes away.

    setgid without execution by the group is no privilege, yet only members of the group leave it: setattr_should_drop_sgid().
    """
    mode = status.st_mode
    if not mode & (stat.S_ISUID | stat.S_ISGID) or not stat.S_ISREG(mode):
        return 0
    bits = mode & stat.S_ISUID
    if mode & stat.S_ISGID and (mode & stat.S_IXGRP or not is_member(caller, status.st_gid)):
        bits |= stat.S_ISGID
    return bits


def loses_setgid(status: os.stat_result, caller: Caller) -> bool:
    """Return whether a change of owner or group by `caller` takes setgid away where the file system, asked by root, lets it be."""
    kept = stat.S_ISGID | stat.S_IXGRP
    if caller.uid == 0 or status.st_mode & kept != stat.S_ISGID or stat.S_ISDIR(status.st_mode):
        return False
    return not is_member(caller, status.st_gid)


def is_member(caller: Caller, group: int) -> bool:
    """Return whether a caller belongs to a group."""
    if caller.gid == group:
        return True
    try:
        return group in pyfuse3.get_sup_groups(caller.pid)
    except OSError:
        return False  # of a pid namespace that is not seen from here: no right is what nobody can show
