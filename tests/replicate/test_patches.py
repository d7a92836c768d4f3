"""Patches: held as long as there is room, sent to who had heard of what they build on, refused where they fit nothing."""

import pytest

from csfs.core.objects import Content, Kind
from csfs.core.patches import PATCH_SIZE_MAX, PIECES_MAX, Patch
from csfs.core.records import ContentEntry, Half
from csfs.core.versions import Dot, Hlc, Incarnation
from csfs.replicate.inline import inline_patches
from csfs.replicate.patches import CHAIN_MAX, Patches
from csfs.wire.messages import PATCHES_SIZE_MAX, Update

ALPHA = Incarnation(1)
DATA = b"written"
HASH = bytes(32)


def patch(number: int, data: bytes = DATA) -> Patch:
    """Return the patch from version `number` of a file to the next."""
    return Patch(b"%d" % (number + 1), 1000, b"%d" % number, Dot(ALPHA, number), ((0, data),))


def update(content_hash: bytes) -> Update:
    content = Content(Kind.FILE, 1000, content_hash, 1)
    entry = ContentEntry(dot=Dot(ALPHA, 99), hlc=Hlc(1), value=content)
    return Update(b"f", Half(entries=(entry,), seen={ALPHA: 99}))


def test_patches_lead_from_one_version_to_another_in_order() -> None:
    patches = Patches()
    for number in range(5):
        patches.put(patch(number))
    assert patches.chain(b"1", b"4") == (patch(1), patch(2), patch(3))
    assert patches.chain(b"4", b"1") == ()
    patches.drop(b"3")
    assert patches.chain(b"1", b"4") == ()
    assert patches.chain(b"3", b"4") == (patch(3),)


def test_a_chain_that_is_long_or_leads_round_is_none() -> None:
    patches = Patches()
    for number in range(CHAIN_MAX + 1):
        patches.put(patch(number))
    assert len(patches.chain(b"1", b"%d" % (CHAIN_MAX + 1))) == CHAIN_MAX
    assert patches.chain(b"0", b"%d" % (CHAIN_MAX + 1)) == ()
    patches.put(Patch(b"x", 1, b"y", Dot(ALPHA, 1), ()))
    patches.put(Patch(b"y", 1, b"x", Dot(ALPHA, 1), ()))
    assert patches.chain(b"0", b"x") == ()


def test_the_oldest_go_when_there_is_no_room() -> None:
    patches = Patches(size_max=3 * patch(0).weight)
    for number in range(4):
        patches.put(patch(number))
    assert patches.get(b"1") is None
    assert patches.get(b"2") == patch(1)
    patches.put(patch(3))  # the same once more takes no more room
    assert patches.get(b"2") == patch(1)


def test_a_patch_goes_to_who_had_heard_of_what_it_builds_on() -> None:
    patches = Patches()
    patches.put(patch(7))
    assert inline_patches(patches, [update(b"8")], {ALPHA: 7}) == (patch(7),)
    assert inline_patches(patches, [update(b"8")], {ALPHA: 6}) == ()
    assert inline_patches(patches, [update(b"9")], {ALPHA: 7}) == ()


def test_patches_of_one_message_are_few() -> None:
    patches, count = Patches(), 2 * PATCHES_SIZE_MAX // PATCH_SIZE_MAX
    for number in range(1, count + 1):
        patches.put(patch(number, bytes(PATCH_SIZE_MAX - 300)))
    sent = inline_patches(patches, [update(b"%d" % (number + 1)) for number in range(1, count + 1)], {ALPHA: 99})
    assert sum(one.weight for one in sent) <= PATCHES_SIZE_MAX
    assert 0 < len(sent) < count


@pytest.mark.parametrize(
    ("pieces", "is_sound"),
    [
        ((), True),
        (((0, b"a"), (1, b"b"), (999, b"c")), True),
        (((999, b"cd"),), False),
        (((-1, b"a"),), False),
        (((5, b"ab"), (6, b"c")), False),
        (((5, b""),), False),
        (tuple((number, b"x") for number in range(PIECES_MAX + 1)), False),
        (((0, bytes(3 * PATCH_SIZE_MAX)),), False),
    ],
)
def test_what_a_peer_calls_a_patch_has_to_fit_a_content(pieces: tuple[tuple[int, bytes], ...], is_sound: bool) -> None:
    size = 1000 if len(pieces) < 10 and sum(len(data) for _, data in pieces) < 10 else 10**7
    assert Patch(HASH, size, HASH, Dot(ALPHA, 1), pieces).is_sound == is_sound


@pytest.mark.parametrize(
    ("content_hash", "base", "size"),
    [(HASH + b"h", HASH, 1), (HASH, bytes(10**6), 1), (HASH, HASH, 2**63), (HASH, HASH, -1)],
)
def test_what_no_content_has_is_no_patchs_either(content_hash: bytes, base: bytes, size: int) -> None:
    assert not Patch(content_hash, size, base, Dot(ALPHA, 1), ()).is_sound
