"""What must hold once everything was healed: trees, journal and index agree, and nothing that a program was promised is lost."""

import contextlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from csfs.core.paths import RESERVED
from csfs.index.columns import RACY
from csfs.store.attributes import stamp_of
from csfs.store.hashing import hash_bytes
from scripts.soaking.hosts import Host
from scripts.soaking.programs import GIT
from scripts.support.members import VOLUME
from scripts.support.share import APART
from tests.cluster.conftest import NOT_IN_A_LOG
from tests.cluster.storms import missing
from tests.trees import differences

RSS_GROWN_MAX = 1.5
RSS_SLACK_KIB = 40 << 10
DESCRIPTORS_GROWN_MAX = 64


def wrong(hosts: tuple[Host, Host], storms: list[dict[str, Any]], programs: list[dict[str, Any]]) -> list[str]:
    """Return everything that is not as it has to be; to be called when both members are quiet."""
    first, second = hosts
    found = [f"trees: {line}" for line in differences(str(first.member.tree), str(second.member.tree))]
    for host in hosts:
        found += [f"{host.name}: {line}" for line in _unsettled(host)]
        found += [f"{host.name}: index: {line}" for line in _index_differs(host)]
        for report in storms:
            found += [f"{host.name}: lost: {line}" for line in missing(host.member.tree, report)]
        for side, report in enumerate(programs):
            found += [f"{host.name}: programs{side}: {line}" for line in _programs_missing(host, side, report)]
    return found


def unexpected(text: str) -> list[str]:
    """Return the lines of a log that only a bug can write."""
    return [line for line in text.splitlines() if any(mark in line for mark in NOT_IN_A_LOG)]


def _unsettled(host: Host) -> Iterator[str]:
    volume = host.member.volume()
    for name in ("pending", "conflicts", "journal_backlog"):
        if volume[name]:
            yield f"{name} is {volume[name]}"
    for problem in volume["problems"]:
        yield f"problem: {problem}"


# ------------------------------------------------------------------------------------------------------------------ index


def _index_differs(host: Host) -> Iterator[str]:
    """Every row's stamp and hash equal the disk underneath, and the disk has nothing without a row."""
    known = _rows(host)
    root = os.fsencode(host.member.underneath) + b"/"
    for path in _walked(root):
        stamp, digest = known.pop(path, (None, None))
        status = os.lstat(root + path)
        if stamp is None:
            yield f"{path!r} has no row"
            continue
        expected = stamp_of(status).packed()
        if stamp not in (expected, expected + RACY):
            yield f"{path!r} has another stamp"
        if stat.S_ISREG(status.st_mode) and hash_bytes(Path(os.fsdecode(root + path)).read_bytes())[0] != digest:
            yield f"{path!r} has another hash"
    for path in known:
        yield f"{path!r} has a row and is not there"


def _rows(host: Host) -> dict[bytes, tuple[bytes, bytes | None]]:
    """Return stamp and hash of every path that the index says is there."""
    uri = f"file:{host.member.home.index(VOLUME)}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as index:
        rows = index.execute("SELECT path, stamp, hash FROM rows WHERE stamp IS NOT NULL AND path != x''")
        return {bytes(path): (stamp, digest) for path, stamp, digest in rows}


def _walked(root: bytes) -> Iterator[bytes]:
    for directory, directories, files in os.walk(root):
        above = directory[len(root) :].strip(b"/")
        if not above:
            directories[:] = [name for name in directories if name != RESERVED]
        for name in directories + files:
            yield above + b"/" + name if above else name


# --------------------------------------------------------------------------------------------------------------- programs


def _programs_missing(host: Host, side: int, report: dict[str, Any]) -> Iterator[str]:
    top = host.member.tree / APART[side]
    with tempfile.TemporaryDirectory() as copies:
        copy = Path(copies)
        if report["head"]:
            shutil.copytree(top / "repository", copy / "repository", symlinks=True)
            yield from _git_wrong(str(copy / "repository"), report["head"])
        if report["rows"]:
            for database in top.glob("rows.db*"):
                shutil.copy(database, copy)
            yield from _rows_wrong(copy / "rows.db", report["rows"])
    for name, lines in report["lines"].items():
        lost = set(lines) - set((top / name).read_text().splitlines())
        if lost:
            yield f"{name} lacks {len(lost)} lines, {sorted(lost)[:3]}"
    for name, content in report["settings"].items():
        if not (top / name).exists() or (top / name).read_text() != content:
            yield f"{name} has another content"
    for name in report["trees"]:
        yield from (f"{name}: {line}" for line in _tree_wrong(top / name, report["trees"]))
    for name in report["gone"]:
        if os.path.lexists(top / name):
            yield f"{name} is there again"


def _git_wrong(repository: str, head: str) -> Iterator[str]:
    for line in (("fsck", "--strict", "--full"), ("diff", "--stat", "--exit-code", "HEAD")):
        done = subprocess.run([*GIT, "-C", repository, *line], capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"git {line[0]}: {done.stdout[-300:]}{done.stderr[-300:]}"
    done = subprocess.run([*GIT, "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if done.stdout.strip() != head:
        yield f"git: HEAD is {done.stdout.strip()}, not {head}"


def _rows_wrong(database: Path, count: int) -> Iterator[str]:
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
            (found,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    except sqlite3.Error as error:
        yield f"rows.db: {error}"
        return
    if answer != "ok" or found < count:
        yield f"rows.db: {answer}, {found} of {count} rows"


def _tree_wrong(tree: Path, trees: list[str]) -> Iterator[str]:
    """All that was unpacked is the same; what the archive holds, the first one shows."""
    first = tree.parent / trees[0]
    if not tree.is_dir():
        yield "is not there"
    elif tree != first and first.is_dir():
        yield from differences(str(first), str(tree), ignore={"mtime", "links"})[:3]


# ----------------------------------------------------------------------------------------------------------------- growth


class Sample:
    """Memory (KiB) and descriptors of one process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        status = Path(f"/proc/{pid}/status").read_text()
        self.rss_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))


def samples(host: Host) -> dict[str, Sample]:
    """Return what each process of a host takes, by what it is."""
    return {f"{what} of {host.name}": Sample(pid) for what, pid in host.pids().items()}


def grown(name: str, taken: list[Sample]) -> Iterator[str]:
    """Yield in what a process has grown that lived through all these samples."""
    if len(taken) < 3 or len({sample.pid for sample in taken}) != 1:
        return
    half = len(taken) // 2
    before, after = max(sample.rss_kib for sample in taken[:half]), max(sample.rss_kib for sample in taken[half:])
    if after > before * RSS_GROWN_MAX + RSS_SLACK_KIB:
        yield f"{name}: memory has grown from {before} to {after} KiB"
    first, last = taken[0].descriptors, taken[-1].descriptors
    if last > first + DESCRIPTORS_GROWN_MAX:
        yield f"{name}: descriptors have grown from {first} to {last}"


def evidence(hosts: tuple[Host, Host], directory: Path, found: list[str]) -> None:
    """Keep what is needed to find out why."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "wrong").write_text("\n".join(found) + "\n")
    for host in hosts:
        place = directory / host.name
        place.mkdir(exist_ok=True)
        with contextlib.suppress(Exception):
            (place / "status.json").write_text(json.dumps(host.member.status(), indent=1))
        (place / "log").write_text(host.logs())
        files = [
            host.member.home.index(VOLUME),
            host.member.home.journal(VOLUME),
            *host.member.directory.glob("*.json"),
        ]
        for file in files:
            for one in file.parent.glob(file.name + "*"):
                with contextlib.suppress(OSError):
                    shutil.copy(one, place)
        line = ["tar", "-C", str(host.member.underneath), "--xattrs", "--acls", "-cf", str(place / "tree.tar"), "."]
        subprocess.run([*line, "--exclude=./.csfs/filler"], capture_output=True, check=False)
