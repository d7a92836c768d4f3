"""Prints what the store costs per small file: `python -m tests.store.speeds [DIRECTORY]`. Not a test: machines differ.

On ext4 let a minute pass between two runs: it searches long for inodes that were not freed a moment ago.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import Content, Meta
from csfs.store.commits import commit_install
from csfs.store.hashing import block_hash
from csfs.store.observing import Limits
from csfs.store.stage import FromBytes, Stage
from csfs.store.tree import Tree

COUNT = 4000
DATA = b"x" * 1500
CONTENT = Content(Kind.FILE, len(DATA), block_hash(DATA))
META = Meta(0o644, 1, 1, "daemon", "daemon")
MTIME_NS = 10**18


def main(directory: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as place:
        root = os.open(place, os.O_DIRECTORY)
        tree = Tree(root)
        stage = Stage(tree)
        live, stage_directory = [os.open(Path(place, name), os.O_DIRECTORY) for name in (".", ".csfs/stage")]
        names = [b"%d" % number for number in range(COUNT)]
        timed("build", lambda: [stage.build(name, CONTENT, META, MTIME_NS, FromBytes(DATA)) for name in names])
        timed("commit", lambda: install(stage_directory, live, names))
        timed("look", lambda: [tree.look(RelPath(name), limits=Limits(32768)) for name in names])
        known = [tree.observe(RelPath(name)) for name in names]
        timed("observe known", lambda: [tree.observe(RelPath(n), k) for n, k in zip(names, known, strict=True)])
        timed("scan", lambda: list(tree.scan()))
        stage.close()
        for descriptor in (live, stage_directory, root):
            os.close(descriptor)


def install(stage: int, live: int, names: list[bytes]) -> None:
    for name in names:
        commit_install(stage, name, live, name, -1, b"", replace=False)


def timed(what: str, work: Callable[[], object]) -> None:
    start = time.perf_counter()
    work()
    print(f"{what:14} {(time.perf_counter() - start) / COUNT * 1e6:7.1f} µs a file")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
