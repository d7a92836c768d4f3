"""Patches as sources of contents, when a file is overwritten in place, and contents put together from what is on this disk."""

import os
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.core.objects import Applied, Content, Kind, Meta, Observation
from csfs.core.patches import Patch
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Step
from csfs.core.versions import Dot, Incarnation
from csfs.errors import ContentMismatchError
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.fetcher import Fetcher
from csfs.replicate.overwrites import COPY_SIZE_MAX, Overwrites
from csfs.replicate.sources import Sources
from csfs.replicate.volume import Volume
from csfs.store.hashing import BLOCK_SIZE, hash_bytes, whole_table
from csfs.store.overwriting import BLOCKS_ONLY
from csfs.store.patching import FromPatches
from csfs.store.stage import FromPartial
from tests.replicate.test_fetcher import made_volume

PATH = RelPath(b"f")
OLD = os.urandom(COPY_SIZE_MAX + BLOCK_SIZE)
PIECE = 3 * BLOCK_SIZE + 7, b"written"
NEW = OLD[: PIECE[0]] + PIECE[1] + OLD[PIECE[0] + len(PIECE[1]) :]
PATCH = Patch(hash_bytes(NEW)[0], len(NEW), hash_bytes(OLD)[0], Dot(Incarnation(1), 1), (PIECE,))


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """A volume that shows OLD at `f`, and knows its table, and what was written to it elsewhere."""
    made = made_volume(tmp_path)
    (tmp_path / "tree" / "f").write_bytes(OLD)
    (tmp_path / "tree" / "f").chmod(0o640)
    with made.index.transaction():
        made.index.tables.add(hash_bytes(OLD)[0], whole_table(len(OLD), hash_bytes(OLD)[1]))
    made.patches.put(PATCH)
    return made


def shown(volume: Volume) -> Observation:
    assert volume.root is not None
    found = volume.root.tree.observe(PATH)
    assert found is not None
    return found


def plan(volume: Volume, data: bytes = NEW, **changes: object) -> Plan:
    base = shown(volume)
    made = Plan(
        path=PATH,
        step=Step.INSTALL,
        expected=base.stamp,
        base=base,
        content=Content(Kind.FILE, len(data), hash_bytes(data)[0], 1),
        meta=Meta(0o640, 0, 0, "root", "root"),
        mtime_ns=1,
        keep=False,
        content_dot=None,
        content_seen={},
        meta_dot=None,
        meta_seen={},
    )
    return msgspec.structs.replace(made, **changes)


def sources_of(volume: Volume) -> Sources:
    return Sources(volume, Fetcher(volume), lambda name: None)


def test_a_content_is_made_of_what_is_shown_and_what_was_written(volume: Volume) -> None:
    sources = sources_of(volume)
    source = sources.find(plan(volume))
    assert isinstance(source, FromPatches)
    assert source.patches == (PATCH,)
    assert volume.root is not None
    built = volume.root.stage.build(b"1.1", plan(volume).content, Meta(0o600, 0, 0), 1, source)
    assert built.observation.hash == hash_bytes(NEW)[0]
    assert built.table is not None
    with volume.index.transaction():
        assert volume.index.tables.add(hash_bytes(NEW)[0], built.table)
    assert volume.index.tables.hashes(hash_bytes(NEW)[0], 0, len(NEW)) == hash_bytes(NEW)[1]


def test_a_patch_that_leads_elsewhere_is_tried_once(volume: Volume) -> None:
    lie = msgspec.structs.replace(PATCH, pieces=((0, b"lie"),))
    volume.patches.put(lie)
    sources = sources_of(volume)
    source = sources.find(plan(volume))
    assert isinstance(source, FromPatches)
    assert volume.root is not None
    with pytest.raises(ContentMismatchError):
        volume.root.stage.build(b"1.1", plan(volume).content, Meta(0o600, 0, 0), 1, source)
    sources.failed(source, plan(volume).content.hash)
    assert sources.find(plan(volume)) is None


@pytest.mark.parametrize("size", [len(NEW) + 1, 1 << 62])
def test_a_patch_to_another_size_is_none(volume: Volume, size: int) -> None:
    for told in (len(NEW), size):
        volume.patches.put(msgspec.structs.replace(PATCH, size=told))
        content = msgspec.structs.replace(plan(volume).content, size=size)
        found = sources_of(volume).find(plan(volume, content=content))
        assert found is None or (isinstance(found, FromPatches) and told == size < 1 << 40)


def test_without_the_table_of_what_is_shown_no_patch_can_be_verified(volume: Volume) -> None:
    with volume.index.transaction():
        volume.index.tables.prune()
    assert sources_of(volume).find(plan(volume)) is None


def is_chosen(volume: Volume, mode: str = "in-place", **changes: object) -> bool:
    volume.apply_mode = mode
    wanted = plan(volume, **changes)  # type: ignore[arg-type]
    return Overwrites(volume).is_chosen(wanted, sources_of(volume).find(wanted), is_promised=False)


def test_a_large_file_is_overwritten_where_blocks_cannot_be_shared(volume: Volume) -> None:
    assert volume.root is not None
    for can_clone in (False, True):
        volume.root.stage.can_clone = can_clone
        assert is_chosen(volume, "in-place")
        assert is_chosen(volume, "auto") == (not can_clone)
        assert not is_chosen(volume, "atomic")


def test_what_has_other_attributes_or_must_be_kept_whole_is_replaced(volume: Volume, tmp_path: Path) -> None:
    assert is_chosen(volume)
    assert not is_chosen(volume, keep=True)
    assert not is_chosen(volume, mtime_ns=None)
    assert not is_chosen(volume, meta=Meta(0o600, 0, 0, "root", "root"))
    wanted = plan(volume)
    assert not Overwrites(volume).is_chosen(wanted, sources_of(volume).find(wanted), is_promised=True)
    os.link(tmp_path / "tree" / "f", tmp_path / "tree" / "g")
    assert not is_chosen(volume)


async def test_what_could_not_be_overwritten_is_replaced_the_next_time(volume: Volume, nursery: trio.Nursery) -> None:
    volume.nursery, volume.apply_mode = nursery, "in-place"
    overwrites, wanted = Overwrites(volume), plan(volume)
    source = sources_of(volume).find(wanted)
    overwrites.not_done(PATH, b"1.1", b"kept" + BLOCKS_ONLY)
    assert overwrites.is_settling(PATH)
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: not overwrites.is_settling(PATH))
    assert not overwrites.is_chosen(wanted, source, is_promised=False)
    overwrites.replaced(PATH)
    assert overwrites.is_chosen(wanted, source, is_promised=False)


async def test_what_was_overwritten_is_put_together_without_any_peer(volume: Volume, tmp_path: Path) -> None:
    """OLD is in the blocks that were kept, and in the file that has NEW by now."""
    assert volume.root is not None
    source = sources_of(volume).find(plan(volume))
    assert isinstance(source, FromPatches)
    before, name = shown(volume), b"kept" + BLOCKS_ONLY
    built = volume.root.stage.prepare_overwrite(b"1.1", name, plan(volume).content, 1, source)
    assert built.table is not None
    (tmp_path / "tree" / "f").write_bytes(NEW)
    applied = Applied(observation=before)
    version = KeptVersion(name, PATH, 1, 0, before.hash, False, applied, Cause.REPLACED, "beta")
    with volume.index.transaction():
        volume.index.ledger.add_kept(version)
        volume.index.tables.add(hash_bytes(NEW)[0], built.table)
    back = plan(volume, OLD)
    assert await Fetcher(volume).fetch(back)
    sources = sources_of(volume)
    sources.arrived(back.content.hash, verified=True)
    assert sources.find(back) == FromPartial(verified=True)
    made = volume.root.stage.build(b"1.2", back.content, Meta(0o600, 0, 0), 1, FromPartial(verified=False))
    assert made.observation.hash == before.hash
    volume.root.stage.kept.delete(name)
    assert not await Fetcher(volume).fetch(back)
