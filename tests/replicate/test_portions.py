"""A batch of updates is cut so that each message fits a frame."""

import secrets

import msgspec
import pytest

from csfs.core.objects import Kind
from csfs.core.records import Content, ContentEntry, Half, Meta, MetaEntry
from csfs.core.versions import Dot, Hlc, Incarnation, Scope
from csfs.replicate.portions import PORTION_SIZE_MAX, portions
from csfs.wire.messages import UPDATES_MAX, Records, Update


def updates(count: int, incarnations: int, parents: int = 0) -> list[Update]:
    """Return what is told of new files, in a group that has had so many incarnations."""
    lives = [Incarnation(secrets.randbits(62)) for _ in range(incarnations)]
    seen = dict.fromkeys(lives, 2**60)
    dot, made_from = Dot(lives[-1], 2**60), tuple(Dot(lives[0], 2**60 - number) for number in range(parents))
    meta = Meta(0o644, 0, 0, "root", "root")
    content = Half((ContentEntry(dot, Hlc(2**61), Content(Kind.FILE, 1, b"h" * 32), meta, parents=made_from),), seen)
    metas = Half((MetaEntry(dot, Hlc(2**61), meta, Kind.FILE, b"h" * 32, parents=made_from),), seen)
    return [Update(b"%d" % number, content, metas) for number in range(count)]


@pytest.mark.parametrize(("incarnations", "parents"), [(3, 0), (3, 64), (100, 0), (1_000, 0)])
def test_the_updates_of_a_batch_fit_a_frame_whatever_their_vectors_are(incarnations: int, parents: int) -> None:
    told = updates(UPDATES_MAX if incarnations <= 100 else 200, incarnations, parents)
    parts = portions(told)
    assert [update for part in parts for update in part] == told
    for part in parts:
        assert len(msgspec.msgpack.encode(Records("volume", Scope(b"scope-01"), 1, part))) <= PORTION_SIZE_MAX
