"""What the C library's allocator keeps for later: a process that has come to rest after a great deal of work gives it back."""

import ctypes
import gc

_M_ARENA_MAX = -8

_libc = ctypes.CDLL(None)


def keep_together() -> None:
    """Have all threads allocate from one place: each keeps what it once needed, and our threads hardly ever allocate at once."""
    _call("mallopt", _M_ARENA_MAX, 1)


def give_back() -> None:
    """Give the kernel what nobody uses; for a thread, though others that allocate wait a moment."""
    gc.collect()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(_libc, name, None)  # not every C library has it
    if function is not None:
        function(*arguments)
