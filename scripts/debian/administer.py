"""Runs real administration tools in a Debian root whose /etc one member has mounted, and compares with another member's /etc."""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from csfs.cli import mounting
from csfs.core.groups import Rules
from csfs.core.paths import RelPath
from scripts.debian.root import chroot, mounts, unpacked
from scripts.debian.tools import EDITORS, TOOLS, Tool
from scripts.support.members import VOLUME, Member, free_port, replicating
from tests.trees import differences

WIDTH = 40
EQUAL_S_MAX = 30.0
SAMPLE = 8
LOG_SIZE = 2000


@contextlib.contextmanager
def pair(root: Path, base: Path) -> Iterator[tuple[Member, Member]]:
    """Give two members that replicate: one over the root's /etc, one over a copy."""
    alpha, beta = (Member(base, name, free_port()) for name in ("alpha", "beta"))
    alpha.tree = root / "etc"
    try:
        for member in (alpha, beta):
            member.directory.mkdir(parents=True)
        subprocess.run(["cp", "-a", str(alpha.tree), str(beta.tree)], check=True)
        alpha.csfs("init", "--member", alpha.name, "--listen", alpha.address)
        alpha.csfs("volume", "add", VOLUME, str(alpha.tree), "--profile", "etc")
        beta.join(alpha)
        alpha.mount()
        beta.mount()
        replicating(alpha, beta)
        yield alpha, beta
    finally:
        for member in (alpha, beta):
            member.stop()
        if sys.exc_info()[0] is None:
            shutil.rmtree(base, ignore_errors=True)


def prepare(root: Path) -> None:
    """Give the root the editors that tools are to call."""
    for name, script in EDITORS.items():
        editor = root / "usr/local/bin" / name
        editor.write_text(f"#!/bin/sh\n{script}\n")
        editor.chmod(0o755)


def differing(alpha: Member, beta: Member, rules: Rules) -> list[str]:
    """Return how the two differ in what they are to keep the same."""
    lines = differences(str(alpha.tree), str(beta.tree))
    return [line for line in lines if rules.is_synced(_path_of(line))]


def _path_of(line: str) -> RelPath:
    name = line.split(": ")[0]
    return RelPath(os.fsencode("" if name == "." else name))


def left_out(alpha: Member, beta: Member, rules: Rules) -> list[str]:
    """Return the paths at which the two differ as the profile wants it, without those below them."""
    names = sorted({line.split(": ")[0] for line in differences(str(alpha.tree), str(beta.tree))})
    found: list[str] = []
    for name in names:
        if not rules.is_synced(_path_of(name)) and not any(name.startswith(f"{above}/") for above in found):
            found.append(name)
    return found


def equal_after(alpha: Member, beta: Member, rules: Rules) -> list[str]:
    """Return how the two still differ once all has arrived; [] if they do not."""
    alpha.wait()
    deadline = time.monotonic() + EQUAL_S_MAX
    while found := differing(alpha, beta, rules):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return []


def at_work(root: Path, tool: Tool) -> str:
    """Run one tool; return what went wrong."""
    for script in (tool.script, tool.check):
        try:
            chroot(root, "sh", "-ec", script)
        except subprocess.CalledProcessError as error:
            return f"exit {error.returncode} of: {script}\n{(error.stderr or error.stdout)[-1500:]}"
        except subprocess.TimeoutExpired:
            return f"hangs: {script}"
    return ""


def told(name: str, seconds: float, verdict: str, lines: list[str]) -> None:
    """Print one tool's line, and what there is to say about it."""
    print(f"{name:<{WIDTH}} {seconds:6.2f} s  {verdict}", flush=True)
    for line in lines[:SAMPLE]:
        print("    " + line.replace("\n", "\n    "), flush=True)
    if len(lines) > SAMPLE:
        print(f"    and {len(lines) - SAMPLE} more", flush=True)


def administered(root: Path, alpha: Member, beta: Member, tools: tuple[Tool, ...]) -> int:
    """Run the tools and compare after each; return how many failed or left a difference."""
    rules = mounting.current_rules(alpha.home, VOLUME)
    bad = 0
    for tool in tools:
        begun = time.monotonic()
        problem = at_work(root, tool)
        seconds = time.monotonic() - begun
        found = equal_after(alpha, beta, rules)
        told(
            tool.name,
            seconds,
            "failed" if problem else "differs" if found else "ok",
            [problem, *found] if problem else found,
        )
        bad += bool(problem or found)
    for member in (alpha, beta):
        member.umount()
    found = differing(alpha, beta, rules)
    told("both unmounted: the plain directories", 0.0, "differs" if found else "ok", found)
    excluded = left_out(alpha, beta, rules)
    print(f"\nleft out by the profile, and different: {', '.join(excluded) or 'nothing'}")
    return bad + bool(found)


def main() -> int:
    """Run the tools; 0 if each did its work and left both members equal."""
    parser = argparse.ArgumentParser(prog="scripts/admin-tools", description=__doc__)
    parser.add_argument("--only", metavar="WORD", help="only tools with this in their names")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind then either
    tools = tuple(tool for tool in TOOLS if not arguments.only or arguments.only in tool.name)
    with unpacked() as root:
        prepare(root)
        with mounts(root), pair(root, root.parent / "members") as (alpha, beta):
            bad = administered(root, alpha, beta, tools)
            if bad:
                print(f"\nlogs:\n{alpha.logs()[-LOG_SIZE:]}\n{beta.logs()[-LOG_SIZE:]}")
    print(f"\n{len(tools)} tools: {'all did their work, and both members are equal' if not bad else f'{bad} bad'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
