"""The file system that pyfuse3 serves: all handlers together, guarded."""

from collections.abc import Callable

import pyfuse3

from csfs.mount.capture import Capture
from csfs.mount.gate import Gate
from csfs.mount.guard import guard_handlers
from csfs.mount.inodes import Inodes
from csfs.mount.operations.attributes import Attributes
from csfs.mount.operations.extended import Extended
from csfs.mount.operations.xattrs import Xattrs


@guard_handlers
class PassThrough(Extended, Attributes, Xattrs, pyfuse3.Operations):  # type: ignore[misc]
    """One directory, passed through. `ready` is called when the kernel has greeted us."""

    supports_dot_lookup = False
    """`..` is never looked up: over its own directory that would climb out onto the mount."""
    enable_acl = True
    enable_writeback_cache = False

    def __init__(self, inodes: Inodes, capture: Capture, gate: Gate, ready: Callable[[], None]) -> None:
        super().__init__(inodes, capture, gate)
        self._ready = ready

    def init(self) -> None:
        self._ready()
