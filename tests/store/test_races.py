"""Others change the directory while the store works in it: it may see the old or the new, never anything outside, never a mixture."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import Content, Meta
from csfs.errors import UnstableError
from csfs.store import syscalls
from csfs.store.hashing import BLOCK_SIZE, block_hash, hash_bytes
from csfs.store.stage import FromBytes, Stage
from csfs.store.tree import Tree

ROUNDS = 1500


class Beside:
    """Repeats an action in a thread for as long as the test works."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._action()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_parent_that_flips_between_directory_and_symlink_never_leads_outside(
    tree: Tree, volume: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_bytes(b"secret")
    (volume / "d").mkdir()
    (volume / "d" / "f").write_bytes(b"ours")
    (volume / "trap").symlink_to(tmp_path / "outside")
    path, parent = RelPath(b"d/f"), tree.root

    def flip() -> None:
        syscalls.renameat2(parent, b"d", parent, b"trap", syscalls.RENAME_EXCHANGE)

    hashes = set()
    with Beside(flip):
        for _ in range(ROUNDS):
            found = tree.observe(path)
            hashes.add(found.hash if found is not None else None)
            try:
                with tree.open_parent(path) as (descriptor, name):
                    assert not os.path.samestat(os.fstat(descriptor), (tmp_path / "outside").stat())
                    assert name == b"f"
            except OSError:
                pass
    assert hashes <= {block_hash(b"ours"), None}


def test_an_object_that_flips_between_kinds_is_seen_as_one_of_them(tree: Tree, volume: Path) -> None:
    (volume / "f").write_bytes(b"file")
    os.mkfifo(volume / "other")

    def flip() -> None:
        syscalls.renameat2(tree.root, b"f", tree.root, b"other", syscalls.RENAME_EXCHANGE)

    seen = set()
    with Beside(flip):
        for _ in range(ROUNDS):
            try:
                found = tree.observe(RelPath(b"f"))
            except UnstableError:  # a rename changes the change time: flipped three times while we looked
                continue
            assert found is not None
            seen.add((found.kind, found.hash))
    assert seen <= {(Kind.FILE, block_hash(b"file")), (Kind.FIFO, b"")}


def test_a_hash_is_never_of_a_mixture(tree: Tree, volume: Path) -> None:
    contents = [bytes([number]) * (BLOCK_SIZE + number) for number in range(4)]
    (volume / "f").write_bytes(contents[0])
    turn = iter(range(10**9))

    def save() -> None:
        (volume / "new").write_bytes(contents[next(turn) % 4])
        (volume / "new").rename(volume / "f")

    valid = {hash_bytes(content) for content in contents}
    with Beside(save):
        for _ in range(200):
            try:
                found = tree.look(RelPath(b"f"))
            except UnstableError:
                continue
            assert found is not None
            table = found.table.whole() if found.table is not None else b""
            assert (found.observation.hash, table) in valid


def test_several_threads_build_in_one_stage(stage: Stage, volume: Path) -> None:
    failures: list[BaseException] = []

    def build(worker: int) -> None:
        try:
            for number in range(50):
                data = b"%d.%d" % (worker, number)
                content = Content(Kind.FILE, len(data), block_hash(data))
                stage.build(data, content, Meta(0o644, 0, 0), 5, FromBytes(data))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=build, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    staged = list((volume / ".csfs" / "stage").iterdir())
    assert len(staged) == 200
    assert all(path.read_bytes() == os.fsencode(path.name) for path in staged)
