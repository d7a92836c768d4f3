"""What a mount process logs is written by a thread: the log's disk may be full or hang, and no program is to wait for it."""

import logging
import logging.handlers
import os
import queue
import stat
import sys

RECORDS_MAX = 1_000
"""What does not fit is lost: better than to wait."""


def begin() -> logging.handlers.QueueListener:
    """Have everything logged from now on written by a thread; return what to stop at the end."""
    handlers = logging.getLogger().handlers[:]
    records: queue.Queue[logging.LogRecord] = queue.Queue(RECORDS_MAX)
    queueing = logging.handlers.QueueHandler(records)
    listener = logging.handlers.QueueListener(records, *handlers)
    _of_our_own(sys.stderr.fileno())
    for handler in handlers:
        logging.getLogger().removeHandler(handler)
    logging.getLogger().addHandler(queueing)
    listener.start()
    return listener


def _of_our_own(descriptor: int) -> None:
    """Open a log file anew: two processes that share an open file wait for each other's writes."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        opened = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
