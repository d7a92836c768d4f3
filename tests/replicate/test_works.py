"""Staging a batch of plans: what cannot be built is told of its path, whatever went wrong, and the others are built."""

from pathlib import Path

import msgspec
import pytest

from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.rows import Step
from csfs.errors import CsfsError
from csfs.replicate.sources import wanting
from csfs.replicate.works import Work, build, observed_at
from csfs.store.hashing import hash_bytes
from csfs.store.stage import FromBytes
from tests.replicate.test_fetcher import made_volume


def work(number: int, meta: Meta) -> Work:
    data = b"%d" % number
    plan = wanting(RelPath(data), Content(Kind.FILE, len(data), hash_bytes(data)[0]), None)
    return Work(msgspec.structs.replace(plan, meta=meta), number, b"0.%d" % number, source=FromBytes(data))


def test_a_bug_at_one_path_is_that_paths_problem_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume = made_volume(tmp_path)
    assert volume.root is not None
    no_number, fine = Meta(0o600, 2**40, 0), Meta(0o600, 0, 0)
    works = [work(1, no_number), work(2, fine)]
    build(volume.root, works)
    assert isinstance(works[0].error, CsfsError)
    assert works[1].error is None
    assert "unexpected error staging 1" in caplog.text
    caplog.clear()
    assert (tmp_path / "tree/.csfs/stage/0.2").read_bytes() == b"2"
    assert not (tmp_path / "tree/.csfs/stage/0.1").exists()


def test_a_copy_of_what_lives_on_is_not_kept_for_what_cannot_be_built(tmp_path: Path) -> None:
    volume = made_volume(tmp_path)
    assert volume.root is not None
    (tmp_path / "tree" / "1").write_bytes(b"shown")
    lacking = work(1, Meta(0o600, 0, 0))
    lacking.plan = msgspec.structs.replace(lacking.plan, base=volume.root.tree.observe(RelPath(b"1")))
    lacking.source, lacking.kept, lacking.copied = FromBytes(b"another"), b"kept", True
    build(volume.root, [lacking])
    assert lacking.error is not None
    assert list((tmp_path / "tree/.csfs/kept").iterdir()) == []


def test_what_was_replaced_under_one_name_is_observed_under_another(tmp_path: Path) -> None:
    volume, tree = made_volume(tmp_path), tmp_path / "tree"
    assert volume.root is not None
    (tree / "1").write_bytes(b"one")
    (tree / "2").hardlink_to(tree / "1")
    (tree / "3").write_bytes(b"another")
    base = volume.root.tree.observe(RelPath(b"1"))
    plan = msgspec.structs.replace(work(1, Meta(0o600, 0, 0)).plan, step=Step.ATTRIBUTES, base=base)
    (tree / "1").unlink()
    (tree / "2").chmod(0o600)
    (found,) = observed_at(volume.root, [plan], [[RelPath(b"3"), RelPath(b"2")]])
    assert found is not None
    assert base is not None
    assert (found.stamp.inode, found.mode) == (base.stamp.inode, 0o600)
    assert observed_at(volume.root, [plan], [[]]) == [None]
