"""What a mount process that was killed has left for the next one to finish, before anybody can look at the directory underneath."""

import contextlib
import os
from typing import Final

from csfs.core.paths import RESERVED
from csfs.store import redo
from csfs.store.beneath import open_in_pieces
from csfs.wire import control

LIFTED: Final = b"lifted"
"""The name in the reserved directory of the note which says that flags were taken away (`lifting`)."""


def is_half_done(root: int) -> bool:
    """Return whether a file is half overwritten, or flags are off that are to be on, beneath the directory `root`."""
    with contextlib.suppress(OSError):  # nothing was ever replicated here
        os.lstat(RESERVED + b"/" + LIFTED, dir_fd=root)
        return True
    with contextlib.suppress(OSError):
        stage = open_in_pieces(root, control.STAGE, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return any(name.startswith(redo.BEGUN) for name in redo.logs(stage))
        finally:
            os.close(stage)
    return False
