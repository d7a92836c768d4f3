"""Files made of what they were and what was written: as copies, and overwritten in place, with a kill at every step."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.patches import Patch
from csfs.core.paths import RelPath
from csfs.core.records import Content, Meta
from csfs.core.versions import Dot, Incarnation
from csfs.errors import ContentMismatchError
from csfs.store import redo, syscalls
from csfs.store.attributes import stamp_of
from csfs.store.blocks import touched_pages
from csfs.store.hashing import BLOCK_SIZE, hash_bytes, whole_table
from csfs.store.overwriting import BLOCKS_ONLY, can_overwrite
from csfs.store.patching import FromPatches, extents_of
from csfs.store.redo import Image, Written
from csfs.store.stage import Stage
from csfs.store.tree import Tree

PATH = RelPath(b"f")
DOT = Dot(Incarnation(1), 1)
META = Meta(0o600, 0, 0, "root", "root")
MTIME_NS = 1_500_000_000_000_000_000

Step = tuple[tuple[tuple[int, bytes], ...], int]
"""Pieces written, in order, and the size that the file then has."""


@st.composite
def steps_of(draw: st.DrawFn, size: int) -> list[Step]:
    """Return what a program may write to a content of `size` bytes, version by version."""
    steps = []
    for _ in range(draw(st.integers(1, 3))):
        pieces: list[tuple[int, bytes]] = []
        end = 0
        for _ in range(draw(st.integers(0, 3))):
            offset = draw(st.integers(end, max(end, size)))
            data = draw(st.binary(min_size=1, max_size=3)) * draw(st.sampled_from([1, 1000, BLOCK_SIZE // 2]))
            pieces.append((offset, data))
            end = offset + len(data)
        size = draw(st.sampled_from([max(size, end), max(size, end) + BLOCK_SIZE, end + 1]))
        steps.append((tuple(pieces), size))
    return steps


def carried_out(content: bytes, steps: list[Step]) -> bytes:
    """Return what the steps make of a content."""
    data = bytearray(content)
    for pieces, size in steps:
        for offset, piece in pieces:
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(piece)] = piece
        del data[size:]
        data.extend(bytes(size - len(data)))
    return bytes(data)


def patches_of(content: bytes, steps: list[Step]) -> tuple[Patch, ...]:
    """Return the steps as patches."""
    patches = []
    for number, (pieces, size) in enumerate(steps):
        base, target = carried_out(content, steps[:number]), carried_out(content, steps[: number + 1])
        patches.append(Patch(hash_bytes(target)[0], size, hash_bytes(base)[0], DOT, pieces))
    return tuple(patches)


def source_of(tree: Tree, content: bytes, steps: list[Step]) -> FromPatches:
    """Return how to make of the live file, which has `content`, what the steps make of it."""
    base = tree.observe(PATH)
    assert base is not None
    patches = patches_of(content, steps)
    table = None
    if len(content) > BLOCK_SIZE:
        table = whole_table(len(content), hash_bytes(content)[1])
        pages = touched_pages(base.size, patches[-1].size, extents_of(base.size, patches))
        table.pages.update({number: b"" for number in table.pages.keys() - pages})
    return FromPatches(PATH, base, table, patches)


def wanted(content: bytes) -> Content:
    return Content(Kind.FILE, len(content), hash_bytes(content)[0], MTIME_NS)


bases = st.sampled_from([5, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE, 3 * BLOCK_SIZE + 77])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), size=bases)
def test_a_copy_that_is_patched_is_what_was_written(
    tree: Tree, stage: Stage, volume: Path, data: st.DataObject, size: int
) -> None:
    content = os.urandom(size)
    steps = data.draw(steps_of(size))
    target = carried_out(content, steps)
    (volume / "f").write_bytes(content)
    stage.discard(b"1.1")
    built = stage.build(b"1.1", wanted(target), META, MTIME_NS, source_of(tree, content, steps))
    assert (volume / ".csfs/stage/1.1").read_bytes() == target
    assert built.observation.hash == hash_bytes(target)[0]
    if len(target) > BLOCK_SIZE and len(content) > BLOCK_SIZE:
        assert built.table is not None
        assert built.table.summary == whole_table(len(target), hash_bytes(target)[1]).summary


def test_patches_that_do_not_make_the_content_leave_nothing(tree: Tree, stage: Stage, volume: Path) -> None:
    content = os.urandom(2 * BLOCK_SIZE)
    (volume / "f").write_bytes(content)
    source = source_of(tree, content, [(((7, b"seven"),), len(content))])
    with pytest.raises(ContentMismatchError):
        stage.build(b"1.1", wanted(content), META, MTIME_NS, source)
    with pytest.raises(ContentMismatchError):
        stage.prepare_overwrite(b"1.1", b"kept", wanted(content), MTIME_NS, source)
    assert os.listdir(volume / ".csfs/stage") == []
    assert os.listdir(volume / ".csfs/kept") == []


@settings(max_examples=100, deadline=None)
@given(data=st.data(), size=st.integers(0, 40), block_size=st.integers(1, 9))
def test_an_image_of_blocks_is_what_was_written(data: st.DataObject, size: int, block_size: int) -> None:
    content = os.urandom(size)
    steps = []
    for _ in range(data.draw(st.integers(1, 3))):
        pieces = data.draw(st.lists(st.tuples(st.integers(0, 50), st.binary(min_size=1, max_size=9)), max_size=3))
        steps.append((tuple(pieces), data.draw(st.integers(0, 60))))
    target = carried_out(content, steps)
    image = Image(block_size, size, lambda n: content[n * block_size : (n + 1) * block_size])
    for pieces_of_step, size_then in steps:
        image.apply(Written(pieces_of_step, size_then))
    blocks = [image.block(number) for number in range(-(-len(target) // block_size))]
    assert b"".join(blocks) == target


CONTENT = bytes(range(256)) * (BLOCK_SIZE // 256) * 5 + b"tail"
STEPS: list[Step] = [
    (((10, b"ten"), (BLOCK_SIZE - 2, b"border"), (4 * BLOCK_SIZE, b"four")), len(CONTENT)),
    (((len(CONTENT), b"grown" * 1000),), len(CONTENT) + 6000),
]
TARGET = carried_out(CONTENT, STEPS)


class Killed(BaseException):
    """The process ended here."""


def prepared(tree: Tree, stage: Stage, volume: Path) -> Observation:
    (volume / "f").write_bytes(CONTENT)
    source = source_of(tree, CONTENT, STEPS)
    assert can_overwrite(wanted(TARGET), source)
    kept = b"kept" + BLOCKS_ONLY
    built = stage.prepare_overwrite(b"1.1", kept, wanted(TARGET), MTIME_NS, source)
    assert (built.observation.hash, built.observation.size) == (hash_bytes(TARGET)[0], len(TARGET))
    return source.base


def overwrite(volume: Path) -> None:
    with opened(volume / ".csfs/stage", os.O_DIRECTORY) as directory, opened(volume / "f", os.O_RDWR) as target:
        redo.carry_out(directory, b"1.1", target, redo.read(directory, redo.PREPARED + b"1.1"))


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def recover(volume: Path, boot: bytes | None = None) -> None:
    told: list[str] = []
    with opened(volume, os.O_DIRECTORY) as root, opened(volume / ".csfs/stage", os.O_DIRECTORY) as directory:
        redo.recover(root, directory, told.append, boot)
    assert not any("not carried out" in line for line in told)


def test_what_is_overwritten_is_kept_block_by_block(tree: Tree, stage: Stage, volume: Path) -> None:
    inode = prepared(tree, stage, volume).stamp.inode
    overwrite(volume)
    status = (volume / "f").stat()
    assert (volume / "f").read_bytes() == TARGET
    assert (status.st_ino, status.st_mtime_ns) == (inode, MTIME_NS)
    kept = (volume / ".csfs/kept/kept.blocks").read_bytes()
    assert len(kept) == len(CONTENT)
    for number in (0, 1, 4, 5):
        block = slice(number * BLOCK_SIZE, (number + 1) * BLOCK_SIZE)
        assert kept[block] == CONTENT[block]
    assert (volume / ".csfs/kept/kept.blocks").stat().st_blocks * 512 < len(CONTENT)
    stage.settle_overwrite(b"1.1")
    assert os.listdir(volume / ".csfs/stage") == []


CALLS: list[tuple[object, str]] = [
    (os, "pwrite"),
    (os, "ftruncate"),
    (syscalls, "renameat2"),
    (syscalls, "set_mtime_of"),
]


@contextlib.contextmanager
def killed_before(step: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Iterator[list[str]]:
    """Have the process end before its `step`th call that changes something."""
    made: list[str] = []

    def watched(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def instead(*arguments: object) -> object:
            if len(made) == step:
                made.append(name)
                raise error
            made.append(name)
            return call(*arguments)

        return instead

    with monkeypatch.context() as patched:
        for room, name in CALLS:
            patched.setattr(room, name, watched(name, getattr(room, name)))
        yield made


STEP_COUNT = 8


@pytest.mark.parametrize("another_boot", [False, True])
@pytest.mark.parametrize("step", range(STEP_COUNT + 1))
def test_a_kill_at_any_step_leaves_the_old_content_or_the_new(
    tree: Tree, stage: Stage, volume: Path, monkeypatch: pytest.MonkeyPatch, step: int, another_boot: bool
) -> None:
    prepared(tree, stage, volume)
    with killed_before(step, monkeypatch, Killed()) as made, contextlib.suppress(Killed):
        overwrite(volume)
    assert len(made) == min(step + 1, STEP_COUNT), "every call is a step"
    recover(volume, b"another boot" if another_boot else None)
    begun = step > 0 or another_boot
    assert (volume / "f").read_bytes() == (TARGET if begun else CONTENT)
    if begun:
        assert (volume / "f").stat().st_mtime_ns == MTIME_NS
    assert stage.leftovers() == []
    assert stage.settle_overwrites() == [b"kept.blocks"]
    assert os.listdir(volume / ".csfs/stage") == []


@pytest.mark.parametrize("step", range(STEP_COUNT))
def test_a_step_that_fails_leaves_the_old_content(
    tree: Tree, stage: Stage, volume: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    base = prepared(tree, stage, volume)
    failure = OSError(28, "No space left on device")
    with killed_before(step, monkeypatch, failure), contextlib.suppress(OSError):
        overwrite(volume)
    # All is written before the last step, which but tells so.
    assert (volume / "f").read_bytes() == (CONTENT if step < STEP_COUNT - 1 else TARGET)
    assert (volume / "f").stat().st_mtime_ns == (base.mtime_ns if step < STEP_COUNT - 1 else MTIME_NS)
    recover(volume)
    assert (volume / "f").read_bytes() == (CONTENT if step < STEP_COUNT - 1 else TARGET)


def test_a_hole_for_which_there_is_no_room_stays_one_and_the_rest_is_put_back(
    tree: Tree, stage: Stage, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hole = 2 * BLOCK_SIZE
    content = CONTENT[:hole] + bytes(BLOCK_SIZE) + CONTENT[hole + BLOCK_SIZE :]
    (volume / "f").write_bytes(content)
    steps: list[Step] = [(((10, b"ten"), (hole, b"hole"), (4 * BLOCK_SIZE, b"four")), len(content) + 9)]
    base = source_of(tree, content, steps).base
    stage.prepare_overwrite(b"1.1", b"", wanted(carried_out(content, steps)), MTIME_NS, source_of(tree, content, steps))
    write = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if hole <= offset < hole + BLOCK_SIZE:
            raise OSError(28, "No space left on device")
        return write(descriptor, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            overwrite(volume)
    assert (volume / "f").read_bytes() == content
    assert (volume / "f").stat().st_mtime_ns == base.mtime_ns
    assert os.listdir(volume / ".csfs/stage") == ["redo.1.1"]


@pytest.mark.parametrize("is_fifo", [False, True])
def test_where_the_file_is_gone_there_is_nothing_to_finish(
    tree: Tree, stage: Stage, volume: Path, is_fifo: bool
) -> None:
    prepared(tree, stage, volume)
    (volume / ".csfs/stage/redo.1.1").rename(volume / ".csfs/stage/begun.1.1")
    (volume / "f").unlink()
    if is_fifo:
        os.mkfifo(volume / "f")
    recover(volume)
    stage.settle_overwrites()
    assert os.listdir(volume / ".csfs/stage") == []


def test_without_room_for_the_log_nothing_is_kept(
    tree: Tree, stage: Stage, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    for call in ("write_all", "os.fsync"):
        with monkeypatch.context() as patched:
            patched.setattr(f"csfs.store.overwriting.{call}", full)
            with pytest.raises(OSError, match="No space left"):
                prepared(tree, stage, volume)
        assert os.listdir(volume / ".csfs/stage") == []
        assert os.listdir(volume / ".csfs/kept") == []


def test_what_somebody_wrote_after_a_crash_is_not_overwritten(tree: Tree, stage: Stage, volume: Path) -> None:
    prepared(tree, stage, volume)
    overwrite(volume)
    for offset in (10, 50):  # what was overwritten, and the block that it is in
        with (volume / "f").open("r+b") as file:
            file.seek(offset)
            file.write(b"somebody's")
        theirs = (volume / "f").read_bytes()
        recover(volume, b"another boot")
        assert (volume / "f").read_bytes() == theirs
    (volume / "other").write_bytes(CONTENT)
    os.rename(volume / "other", volume / "f")
    (volume / ".csfs/stage/done.1.1").rename(volume / ".csfs/stage/begun.1.1")
    recover(volume)
    assert (volume / "f").read_bytes() == CONTENT


def test_what_somebody_wrote_long_after_it_was_begun_is_not_overwritten(tree: Tree, stage: Stage, volume: Path) -> None:
    prepared(tree, stage, volume)
    (volume / ".csfs/stage/redo.1.1").rename(volume / ".csfs/stage/begun.1.1")
    with (volume / "f").open("r+b") as file:
        file.seek(10)
        file.write(b"one")  # of which the log would make "ten", and the blocks that are wanted
    theirs, begun_ns = (volume / "f").read_bytes(), (volume / ".csfs/stage/begun.1.1").stat().st_ctime_ns
    os.utime(volume / "f", ns=(0, begun_ns + redo.BEGUN_NS_MAX + 1))
    recover(volume)
    assert (volume / "f").read_bytes() == theirs


def test_what_was_renamed_is_on_the_disk_before_its_log_goes(
    tree: Tree, stage: Stage, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("renamed", "replaced"):
        prepared(tree, stage, volume)
        overwrite(volume)
        (volume / "f").rename(volume / name)
        if name == "replaced":
            (volume / "f").write_bytes(b"another")
        synced: list[list[str]] = []
        monkeypatch.setattr(syscalls, "syncfs", lambda root, to=synced: to.append(os.listdir(volume / ".csfs/stage")))
        stage.settle_overwrite(b"1.1")
        assert synced == [["done.1.1"]]
        (volume / ".csfs/kept/kept.blocks").unlink()


def test_what_could_not_be_put_back_is_finished_later(
    tree: Tree, stage: Stage, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tree, stage, volume)
    write, left = os.pwrite, [2]

    def broken(descriptor: int, data: bytes, offset: int) -> int:
        if left[0] <= 0:
            raise OSError(5, "Input/output error")
        left[0] -= 1
        return write(descriptor, data, offset)

    def finish(left: Stamp) -> Stamp | None:
        with opened(volume, os.O_DIRECTORY) as root, opened(volume / ".csfs/stage", os.O_DIRECTORY) as directory:
            return redo.finish(root, directory, b"1.1", left)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", broken)
        with pytest.raises(OSError, match="half overwritten"):
            overwrite(volume)
        assert os.listdir(volume / ".csfs/stage") == ["begun.1.1"]
        assert (now := finish(stamp_of((volume / "f").stat()))) == stamp_of((volume / "f").stat())
    stage.drop_overwrite(b"1.1", b"kept.blocks")
    assert os.listdir(volume / ".csfs/kept") == ["kept.blocks"], "all that is left of what was overwritten"
    assert finish(now) is None
    assert (volume / "f").read_bytes() == TARGET
    assert os.listdir(volume / ".csfs/stage") == ["done.1.1"]


def test_a_log_that_is_none_is_left_alone(tree: Tree, stage: Stage, volume: Path) -> None:
    (volume / ".csfs/stage/begun.1.1").write_bytes(b"no log")
    told: list[str] = []
    with opened(volume, os.O_DIRECTORY) as root, opened(volume / ".csfs/stage", os.O_DIRECTORY) as directory:
        redo.recover(root, directory, told.append)
    assert len(told) == 1
    assert "not a redo log" in told[0]
