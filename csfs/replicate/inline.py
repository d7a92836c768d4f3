"""What travels together with records: whole small contents, and what was written to larger ones."""

from collections.abc import Iterator, Sequence

from csfs.core import versions
from csfs.core.objects import Content, Kind
from csfs.core.patches import Patch
from csfs.core.paths import RelPath
from csfs.core.versions import Vector
from csfs.errors import CsfsError
from csfs.replicate.contents import Hashes
from csfs.replicate.patches import Patches
from csfs.replicate.volume import Root, Volume
from csfs.store.observing import Limits
from csfs.wire.messages import INLINE_SIZE_MAX, PATCHES_SIZE_MAX, Update


async def inline_contents(
    volume: Volume, updates: Sequence[Update], size_max: int, travelled: Hashes
) -> tuple[bytes, ...]:
    """Return small contents that the receiver of `updates` is likely to lack, at most `size_max` bytes together.

    `travelled` are those that it was sent before; what is returned is added.
    """
    contents: dict[bytes, bytes] = {}
    missing: list[tuple[RelPath, bytes]] = []
    size = 0
    for path, value in _files(updates):
        is_small = 0 < value.size <= INLINE_SIZE_MAX
        if not is_small or value.hash in travelled or value.hash in volume.travelled:
            continue
        if size + value.size > size_max:
            break
        size += value.size
        travelled.add(value.hash)
        data = volume.contents.get(value.hash)
        if data is not None:
            contents[value.hash] = data
        else:
            missing.append((path, value.hash))
    if missing and volume.root is not None:
        contents.update(await volume.with_root(_read_contents, missing))
    return tuple(contents.values())


def inline_patches(patches: Patches, updates: Sequence[Update], knowledge: Vector) -> tuple[Patch, ...]:
    """Return what makes contents in `updates` of others that the receiver had heard of before, as its `knowledge` says."""
    found: list[Patch] = []
    size = 0
    for _, value in _files(updates):
        patch = patches.get(value.hash)
        if patch is None or not versions.covers(knowledge, patch.base_dot):
            continue
        size += patch.weight
        if size > PATCHES_SIZE_MAX:
            break
        found.append(patch)
    return tuple(found)


def _files(updates: Sequence[Update]) -> Iterator[tuple[RelPath, Content]]:
    for update in updates:
        for entry in update.content.entries if update.content is not None else ():
            if entry.value.kind is Kind.FILE:
                yield RelPath(update.path), entry.value


def _read_contents(root: Root, wanted: Sequence[tuple[RelPath, bytes]]) -> dict[bytes, bytes]:
    """Return the contents that are still what they were; for a thread."""
    found = {}
    for path, content_hash in wanted:
        try:
            look = root.tree.look(path, content_changed=True, limits=Limits(INLINE_SIZE_MAX))
        except (OSError, CsfsError):
            continue
        if look is not None and look.content is not None and look.observation.hash == content_hash:
            found[content_hash] = look.content
    return found
