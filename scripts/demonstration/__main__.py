"""The demonstration's order of events, and its end."""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from csfs.cli import output
from csfs.errors import CsfsError
from scripts.demonstration import cluster as clusters
from scripts.demonstration.cluster import Cluster
from scripts.demonstration.comparing import DifferentError, assert_equal, wait_equal
from scripts.demonstration.crashes import storm
from scripts.demonstration.edits import EDITS, Edit
from scripts.demonstration.screen import Screen, milliseconds
from scripts.support.members import Member, replicating

PLACE = "/var/tmp"
"""On a disk: not every kernel's tmpfs has user attributes."""
PREFIX = "csfs-demo-"
EDIT_S_MAX = 60
LOG_LINES = 12
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
"""128 and the number of SIGINT, as shells say it."""


def main() -> int:
    """Run the demonstration, or end one that was left running."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Two members on this machine, over copies of /etc."
    )
    parser.add_argument("--keep", action="store_true", help="leave it running at the end, and say how to play with it")
    parser.add_argument("--end", type=Path, metavar="DIRECTORY", help="end what --keep left running, and remove it")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("run it as root: it mounts, and makes files of other owners")
    if options.end is not None:
        return ended(options.end)
    for number in ENDING:
        signal.signal(number, interrupted)
    screen = Screen()
    base = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
    done = None
    try:
        done = demonstrated(screen, base)
    except KeyboardInterrupt:
        screen.say("interrupted", "red")
        return INTERRUPTED
    finally:
        if options.keep and done is not None:
            invite(screen, base)
        else:
            cleaned(screen, base)
    return 0 if done else 1


def interrupted(number: int, frame: object) -> None:
    """End like on an interrupt."""
    raise KeyboardInterrupt


def ended(base: Path) -> int:
    """End a demonstration that was kept."""
    base = base.resolve()
    if not base.name.startswith(PREFIX) or not base.is_dir():
        print(f"scripts/demo: {base} is no directory of a demonstration", file=sys.stderr)
        return 2
    clusters.end(base)
    return 0


def cleaned(screen: Screen, base: Path) -> None:
    """Leave nothing behind; a second interrupt does not stop that."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    begin = time.perf_counter()
    with screen.busy("cleaning up"):
        clusters.end(base)
    screen.say(f"cleaned up in {output.seconds(time.perf_counter() - begin)}", "dim")


def demonstrated(screen: Screen, base: Path) -> bool:
    """Return whether all went as it should; if not, the screen says what did not."""
    begin = time.perf_counter()
    cluster = Cluster(base)
    try:
        cluster.copy()
        shown(screen, cluster)
    except (DifferentError, AssertionError, CsfsError, OSError, subprocess.SubprocessError) as error:
        screen.say()
        screen.say(f"FAILED: {error}", "bold red")
        tell_logs(screen, cluster)
        return False
    screen.say()
    screen.say(f"all equal, all there; {output.seconds(time.perf_counter() - begin)}", "bold green")
    return True


def shown(screen: Screen, cluster: Cluster) -> None:
    """Show everything, one part after the other."""
    screen.title("Two members on this machine, each over a copy of /etc of its own; your /etc is only read")
    screen.say(f"  below {cluster.base}", "dim")
    cluster.start(screen)
    edited(screen, cluster)
    screen.title("Killed in the middle of writes, on both sides")
    storm(screen, cluster.members, lambda: replicating(*cluster.members))
    compared(screen, cluster)
    screen.title("csfs status, at alpha")
    status = cluster.alpha.csfs("status", check=False)
    for line in status.stdout.splitlines():
        screen.say(f"  {line}".rstrip())
    if status.returncode != 0:
        raise DifferentError("csfs status says that something is wrong")


def edited(screen: Screen, cluster: Cluster) -> None:
    """Make all edits, on alternating sides, and compare after each, at what it touched."""
    screen.title("Edits with real tools, on alternating sides")
    screen.row("at", "what", "tool", "then equal", "on the wire", style="bold")
    delays = []
    for number, edit in enumerate(EDITS):
        delays.append(edit_once(screen, cluster, edit, number % 2))
    compared(screen, cluster)
    screen.row(
        "", "half of them, and all of them, within", *map(milliseconds, (statistics.median(delays), max(delays)))
    )


def edit_once(screen: Screen, cluster: Cluster, edit: Edit, which: int) -> float:
    """Make one edit at one member; return the seconds from its end until the other is equal."""
    member = cluster.members[which]
    wire = wire_bytes(cluster.alpha)
    begin = time.perf_counter()
    with screen.busy(edit.title):
        run(member, edit)
        over = time.perf_counter()
        wait_equal(cluster.alpha.tree, cluster.beta.tree, edit.touched)
        equal = time.perf_counter()
        cluster.wait()
    screen.row(
        member.name,
        edit.title,
        milliseconds(over - begin),
        milliseconds(equal - over),
        output.size(wire_bytes(cluster.alpha) - wire),
        style="green",
    )
    return equal - over


def run(member: Member, edit: Edit) -> None:
    """Run one edit's line as root would at a prompt.

    Raises:
        DifferentError: the tool itself failed; files of the mount were not as it expects them.
    """
    environment = {
        "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        "LC_ALL": "C",
        "HOME": str(member.directory),
        "VIM": shutil.which("vim") or shutil.which("vim.tiny") or "vi",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_NAME": "demo" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "demo@localhost" for who in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", edit.script],
        cwd=member.directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=EDIT_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise DifferentError(f"at {member.name}: {edit.script}: exit {done.returncode}: {done.stderr}{done.stdout}")


def wire_bytes(member: Member) -> int:
    """Return the bytes that this member and its peer have sent each other."""
    peer = member.peer()
    return int(peer["bytes_sent"]) + int(peer["bytes_received"])


def compared(screen: Screen, cluster: Cluster) -> None:
    """Compare the trees whole, by means that share nothing with csfs."""
    with screen.busy("comparing all"):
        cluster.wait()
        count = assert_equal(cluster.alpha.tree, cluster.beta.tree)
    screen.row("both", "compared whole, to the last attribute", f"{count} paths", "equal", style="bold green")


def tell_logs(screen: Screen, cluster: Cluster) -> None:
    """Print the ends of the logs: they are about to go."""
    for path in cluster.logs():
        screen.title(str(path.relative_to(cluster.base)))
        for line in path.read_text(errors="replace").splitlines()[-LOG_LINES:]:
            screen.say(f"  {line}")


def invite(screen: Screen, base: Path) -> None:
    """Say how to play with what was left running."""
    csfs = Path(sys.executable).with_name("csfs")
    screen.title("Left running, to play with")
    for line in (
        f"cd {base}",
        "echo hello > alpha/etc/motd; cat beta/etc/motd",
        f"{csfs} --home {base}/alpha/home status --watch",
        f"kill -9 $(cat {base}/beta/home/run/daemon.pid)    # files stay writable; to start it again:",
        f"{csfs} --home {base}/beta/home daemon &",
    ):
        screen.say(f"  {line}")
    screen.say()
    screen.say(f"To end it: scripts/demo --end {base}")


if __name__ == "__main__":
    sys.exit(main())
