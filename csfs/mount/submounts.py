"""What is mounted below a volume already when the volume is mounted: it is reached through csfs, and left alone."""

import os

from csfs.mount import mountinfo
from csfs.mount.inodes import ROOT_INODE, Name


def names_below(path: str) -> frozenset[Name]:
    """Return the names at which something is mounted below the directory `path`; to be called before csfs is mounted there.

    Those in a directory of another mount are left out: all that is below a mount point is taken for the other mount's anyway.
    """
    top = os.stat(path)
    names = set()
    for mount in mountinfo.current():
        if mount.path != path and mountinfo.is_below(mount.path, path):
            directory, name = os.path.split(os.fsencode(mount.path))
            try:
                status = os.lstat(directory)
            except OSError:
                continue  # hidden by a later mount, or gone
            if status.st_dev == top.st_dev:
                names.add((ROOT_INODE if status.st_ino == top.st_ino else status.st_ino, name))
    return frozenset(names)
