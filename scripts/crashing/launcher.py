"""A process that has imported everything and forks daemons and mounts whose steps are counted: a new one is there in milliseconds.

On standard input, a line of JSON each: `["daemon", HOME, SLOT]` or `["mount", HOME, SLOT, DIRECTORY]`; answered by a line with the
process id of the daemon, or 0 once the mount serves.
"""

import json
import os
import signal
import sys
from pathlib import Path

from csfs.cli import mounting
from csfs.config import home as homes
from csfs.daemon import main as daemons
from csfs.mount import handover, link, parent, serve, supervisor
from scripts.crashing import steps
from scripts.crashing.page import Slot, slots

PRELOADED = (serve,)
"""What a mount process imports by itself."""
RETRY_DELAY_S = 0.02
"""How soon a mount asks whether its daemon is back: of hundreds of kills each costs as much."""


def main() -> None:
    """Fork what is asked for, until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    handover.RETRY_DELAY_S_MIN = link.RETRY_DELAY_S_MIN = RETRY_DELAY_S
    supervisor.STABLE_S = 0.0  # a mount that dies again and again is what is wanted here
    page = slots(Path(sys.argv[1]))
    for line in sys.stdin:
        kind, root, slot, *rest = json.loads(line)
        print(_daemon(root, page[slot]) if kind == "daemon" else _mount(root, page[slot], *rest), flush=True)


def _daemon(root: str, slot: Slot) -> int:
    home = homes.chosen(root)
    pid = os.fork()
    if pid == 0:
        _begin(str(home.daemon_log))
        steps.install(slot)
        try:
            daemons.run(home)
        finally:
            os._exit(1)
    return pid


def _mount(root: str, slot: Slot, directory: str) -> int:
    home = homes.chosen(root)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a mount's parent waits for its child
        steps.install(slot)
        settings = mounting.mount_settings(home, directory)
        parent.start(settings, "", load_rules=lambda: mounting.current_rules(home, settings.volume))
        os._exit(0)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # children are not waited for here: it has ended
    return 0


def _begin(log_file: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


if __name__ == "__main__":
    main()
