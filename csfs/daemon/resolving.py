"""`csfs resolve`: one of the versions in conflict, or a new content, becomes the one that all members show."""

import time
from collections.abc import Sequence
from typing import Any

import trio

from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, MetaEntry
from csfs.core.rows import Row
from csfs.core.tables import HASH_SIZE
from csfs.daemon.deciding import Deciding, Decision, check_may_decide, known_at
from csfs.daemon.places import Handler, Place, Places
from csfs.daemon.versions import conflicts_at
from csfs.engine.live import Live
from csfs.engine.settling import meta_for
from csfs.errors import ConfigError, CsfsError
from csfs.index.ledger import Cause
from csfs.replicate.volume import Root
from csfs.store.hashing import BLOCK_SIZE, block_count, hash_of_block, table_root, whole_table

PRIVATE_FILE = Meta(0o600, 0, 0, "root", "root")
"""For a content that comes where no file was."""


class Resolving:
    """Settles conflicts."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def handlers(self) -> dict[str, Handler]:
        """Return what is answered here, by command."""
        return {"resolve": self._resolve, "content": self._content}

    async def _resolve(self, arguments: dict[str, Any]) -> dict[str, Any]:
        member, strict = arguments.get("member"), not arguments.get("lenient")
        found: list[tuple[Place, list[Decision]]] = []
        for place in self._places.all(arguments.get("paths")):
            named = {(p.volume.name, d.path) for p, decisions in found for d in decisions}
            decisions = await self._decisions(place, arguments)
            found.append((place, [d for d in decisions if (place.volume.name, d.path) not in named]))
        count = sum(len(decisions) for _, decisions in found)
        left = [decision for _, decisions in found for decision in decisions if decision.error]
        if not count:
            raise ConfigError("there is no conflict to settle; csfs conflicts lists them all")
        if strict and left:
            place, decisions = next((p, d) for p, d in found if any(decision.error for decision in d))
            first = next(decision for decision in decisions if decision.error)
            raise ConfigError(f"{place.shown(first.path)}: {first.error}; --keep-all {member} leaves such a path alone")
        results: list[dict[str, Any]] = []
        for place, decisions in found:
            if arguments.get("dry_run"):
                results += [{"path": place.shown(d.path), "error": d.error, "undo": ""} for d in decisions]
            else:
                results += await Deciding(place, Cause.RESOLVED).carry_out(decisions)
        told = {place.shown(d.path): _told(place, d) for place, decisions in found for d in decisions}
        return {"resolved": [result | told[result["path"]] for result in results]}

    async def _decisions(self, place: Place, arguments: dict[str, Any]) -> list[Decision]:
        place.check_mounted()
        await place.catch_up()
        halves: dict[RelPath, set[str]] = {}
        for conflict in conflicts_at(place):
            halves.setdefault(conflict.path, set()).add(conflict.half)
        if arguments.get("paths") and not halves:
            raise ConfigError(f"{place.shown()}: no conflict there; csfs conflicts lists them all")
        decisions = []
        for path, contested in halves.items():
            check_may_decide(place, path)
            decisions.append(_decision(place, path, contested, arguments))
        return decisions

    async def _content(self, arguments: dict[str, Any]) -> None:
        """Take in a piece of a content that is to be live somewhere; `first` is the number of its first block."""
        place = self._places.of(arguments.get("path"))
        place.check_mounted()
        digest, size, table = bytes(arguments["hash"]), int(arguments["size"]), bytes(arguments["table"])
        blocks, first = [bytes(block) for block in arguments["blocks"]], int(arguments["first"])
        expected = block_count(size) * HASH_SIZE if size > BLOCK_SIZE else 0
        if len(table) != expected or (table and table_root(size, table) != digest):
            raise ConfigError("these are not the blocks of that content")
        try:
            await place.volume.with_root(_take_in, digest, size, table, first, blocks)
        except (OSError, CsfsError, trio.ClosedResourceError) as error:
            raise ConfigError(f"{place.shown()}: the content cannot be stored: {error}") from error
        if first + len(blocks) >= block_count(size):
            if table:
                with place.volume.index.transaction():
                    place.volume.index.tables.add(digest, whole_table(size, table))
            place.mounted.worker.sources.arrived(digest)


def _decision(place: Place, path: RelPath, contested: set[str], arguments: dict[str, Any]) -> Decision:
    """Return what becomes of one path; halves of which several versions stand become one, in conflict or not."""
    row, live = place.volume.index.rows.row(path), place.volume.engine.live(path)
    assert row is not None, "a conflict of nothing"
    assert live is not None, "a conflict of nothing"
    decision = Decision(path, None, None, known_at(place, path))
    member, new = arguments.get("member"), arguments.get("new")
    content_entry = _made_by(place, row.record.content.entries, member)
    meta_entry = _made_by(place, row.record.meta.entries, member)
    if member and not (("content" in contested and content_entry) or ("meta" in contested and meta_entry)):
        decision.error = f"{member} made none of the versions: {', '.join(_authors(place, row))} did"
        return decision
    if new is not None:
        decision.content = Content(Kind.FILE, int(new["size"]), bytes(new["hash"]), time.time_ns())
    elif len(row.record.content.entries) > 1:
        entry = content_entry or live.entry
        decision.content, decision.author = (entry.value, entry.dot) if entry is not None else (live.content, None)
    content = decision.content or live.content
    if len(row.record.meta.entries) > 1 or content.kind is not live.content.kind:
        decision.meta = _meta(live, meta_entry, content, content_entry)
        decision.meta_author = meta_entry.dot if meta_entry is not None else live.meta_dot
    return decision


def _meta(live: Live, chosen: MetaEntry | None, content: Content, author: ContentEntry | None) -> Meta | None:
    if chosen is not None and chosen.kind is content.kind:
        return meta_for(chosen, content)
    if live.content.kind is content.kind:
        return live.meta
    return author.snapshot if author is not None else PRIVATE_FILE


def _made_by(place: Place, entries: Sequence[Any], member: str | None) -> Any:
    """Return the last entry that a member made, None for none."""
    made = [e for e in entries if member is not None and place.volume.authors.get(e.dot.incarnation) == member]
    return max(made, key=lambda entry: (entry.hlc, entry.dot), default=None)


def _authors(place: Place, row: Row) -> list[str]:
    entries: list[ContentEntry | MetaEntry] = [*row.record.content.entries, *row.record.meta.entries]
    return sorted({place.volume.authors.get(entry.dot.incarnation, "?") for entry in entries})


def _told(place: Place, decision: Decision) -> dict[str, Any]:
    content = decision.content
    dot = decision.author if content is not None else decision.meta_author
    author = place.volume.authors.get(dot.incarnation, "") if dot is not None else ""
    return {
        "kept": author,
        "kind": content.kind.name.lower() if content is not None else "",
        "size": content.size if content is not None else 0,
        "hash": content.hash.hex() if content is not None else "",
        "mode": f"{decision.meta.mode:04o}" if decision.meta is not None else "",
    }


def _take_in(root: Root, digest: bytes, size: int, table: bytes, first: int, blocks: Sequence[bytes]) -> None:
    """Write blocks of a content that is handed in, each verified; for a thread."""
    partials = root.stage.partials
    partials.check_room(sum(map(len, blocks)))
    partials.begin(digest, size)
    for number, block in enumerate(blocks, first):
        partials.write_block(digest, number, block, hash_of_block(digest, table, number))
