"""What the command line asks about versions: conflicts, histories, contents."""

import contextlib
import errno
import os
from typing import Any

import msgspec
import trio

from csfs.core import acls
from csfs.core.objects import Applied, Content, Kind, Meta
from csfs.core.paths import ROOT, RelPath, is_below, shown
from csfs.core.records import ContentEntry, MetaEntry
from csfs.core.rows import Row
from csfs.core.versions import Dot
from csfs.daemon.places import Handler, Place, Places
from csfs.engine.live import content_of, meta_of
from csfs.engine.ports import Conflict
from csfs.errors import ConfigError, CsfsError, UnreachableError
from csfs.index.ledger import KeptVersion
from csfs.replicate.sources import wanting
from csfs.replicate.volume import Root
from csfs.store import blocks
from csfs.store.overwriting import BLOCKS_ONLY

READ_SIZE = 4 * 1024 * 1024
HISTORY_MAX = 10_000
LIVE = "live"
ID_SIZE_MIN = 4


class Versions:
    """Answers what changes nothing."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def handlers(self) -> dict[str, Handler]:
        """Return what is answered here, by command."""
        return {"conflicts": self._conflicts, "history": self._history, "version": self._version}

    # ------------------------------------------------------------------------------------------------------- conflicts

    async def _conflicts(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for place in self._places.all(arguments.get("paths")):
            await place.catch_up()
            found += [_conflict(place, conflict) for conflict in conflicts_at(place)]
        return found

    # --------------------------------------------------------------------------------------------------------- history

    async def _history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        place = self._places.of(arguments.get("path"))
        limit = min(int(arguments.get("limit") or HISTORY_MAX), HISTORY_MAX)
        await place.catch_up()
        volume = place.volume
        row = volume.index.rows.row(place.path)
        kept = volume.index.ledger.kept_below(place.path, limit + 1)
        versions = [_present(place, row)] if row is not None and place.path != ROOT else []
        versions += [_kept(place, v) | {"gone": _is_gone(place, v.path)} for v in kept[:limit]]
        if not versions and place.path != ROOT:
            raise ConfigError(
                f"nothing is known of {place.shown()}; is it written as `csfs history` of its directory has it?"
            )
        return {"path": place.shown(), "versions": versions, "more": len(kept) > limit}

    # -------------------------------------------------------------------------------------------------------- contents

    async def _version(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return one version of a path, with a piece of its content from `offset` on."""
        place = self._places.of(arguments.get("path"))
        place.check_mounted()
        wanted = str(arguments.get("version") or LIVE)
        version = None
        if wanted == LIVE:
            await place.catch_up()
            described = _present(place, place.volume.index.rows.row(place.path))
        else:
            version = chosen(place, wanted)
            described = _kept(place, version)
        data = b""
        if described["kind"] == Kind.FILE.name.lower() and described["size"]:
            data = await self._piece(
                place, version, bytes.fromhex(described["hash"]), int(arguments.get("offset") or 0)
            )
        meta = of_kept(version)[1] if version is not None else None
        if version is None and (row := place.volume.index.rows.row(place.path)) is not None and row.applied.observation:
            meta = shown_by(row.applied)[1]
        exact = {"uid": meta.uid, "gid": meta.gid, "xattrs": list(meta.xattrs)} if meta is not None else {}
        return described | exact | {"data": data}

    async def _piece(self, place: Place, version: KeptVersion | None, digest: bytes, offset: int) -> bytes:
        ledger, rows = place.volume.index.ledger, place.volume.index.rows
        try:
            if version is None:
                return await place.volume.with_root(_live_piece, place.path, offset)
            if not version.size:
                await obtain(place, place.path, of_kept(version)[0], version.applied.content_dot)
            data = place.volume.contents.get(digest)
            if data is not None:
                return data[offset : offset + READ_SIZE]
            names = [version.name] if version.size else [name for name, _ in ledger.kept_with_hash(digest)]
            return await place.volume.with_root(_kept_piece, names, rows.paths_with_hash(digest), digest, offset)
        except (OSError, CsfsError, trio.ClosedResourceError) as error:
            named = version.id if version is not None else LIVE
            raise ConfigError(f"{place.shown()}: {named} cannot be read: {error}") from error


async def obtain(place: Place, path: RelPath, content: Content, author: Dot | None) -> None:
    """Have a content here, from whoever has it, `author` of it first.

    Raises:
        UnreachableError: nobody reachable has it.
    """
    row = place.volume.index.rows.row(path)
    base = row.applied.observation if row is not None else None
    wanted = wanting(path, content, author, base)
    if not await place.mounted.worker.sources.obtained(wanted):
        member = _author(place, author)
        raise UnreachableError(f"nobody reachable has its content; is {member or 'the member that has it'} connected?")


def conflicts_at(place: Place) -> list[Conflict]:
    """Return the conflicts of a path and of everything below it."""
    engine, rows = place.volume.engine, place.volume.index.rows
    contested = [path for path in rows.contested() if path == place.path or is_below(path, place.path)]
    return list(engine.conflicts(sorted(contested)))


def chosen(place: Place, wanted: str) -> KeptVersion:
    """Return the kept version that a person named by its beginning; the newest one for `newest`.

    Raises:
        ConfigError: there is none, or several.
    """
    kept = place.volume.index.ledger.kept(place.path)
    if wanted == "newest":
        if not kept:
            raise ConfigError(
                f"{place.shown()}: no version of it is kept here; csfs history of its directory has what is"
            )
        return kept[0]
    found = [version for version in kept if len(wanted) >= ID_SIZE_MIN and version.id.startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    reason = "has several versions that begin with" if found else "has no kept version"
    raise ConfigError(f"{place.shown()} {reason} {wanted}; csfs history lists them")


def of_kept(version: KeptVersion) -> tuple[Content, Meta | None]:
    """Return what a kept version was, exactly as its author meant it (R4); absent without meta for nothing."""
    applied = version.applied
    if applied.observation is None:
        if version.is_absence:
            return Content(Kind.ABSENT), None
        return Content(Kind.FILE, version.size, version.hash, version.kept_ns), Meta(0o600, 0, 0, "root", "root")
    return shown_by(applied)


def shown_by(applied: Applied) -> tuple[Content, Meta]:
    """Return what is shown, exactly as its author meant it; something must be."""
    observation = applied.observation
    assert observation is not None, "nothing is shown"
    content = content_of(observation)
    if applied.mtime_ns is not None and content.kind is not Kind.DIRECTORY:
        content = msgspec.structs.replace(content, mtime_ns=applied.mtime_ns)
    return content, applied.meta or meta_of(observation)


# ------------------------------------------------------------------------------------------------------------ plain values


def _described(content: Content, meta: Meta | None) -> dict[str, Any]:
    return {
        "kind": content.kind.name.lower(),
        "size": content.size,
        "mtime_ns": content.mtime_ns,
        "hash": content.hash.hex(),
        "target": shown(content.target),
        "mode": f"{meta.mode:04o}" if meta is not None else "",
        "owner": (shown(meta.owner.encode()) or str(meta.uid)) if meta is not None else "",
        "group": (shown(meta.group.encode()) or str(meta.gid)) if meta is not None else "",
        "acl": acls.described(meta.xattrs) if meta is not None else "",
    }


def _author(place: Place, dot: Dot | None) -> str:
    return place.volume.authors.get(dot.incarnation, "") if dot is not None else ""


def _kept(place: Place, version: KeptVersion) -> dict[str, Any]:
    return _described(*of_kept(version)) | {
        "path": place.shown(version.path),
        "version": version.id,
        "member": _author(place, version.applied.content_dot),
        "kept_ns": version.kept_ns,
        "cause": version.cause.value,
        "by": version.member,
        "here": _is_here(place, version),
    }


def _is_here(place: Place, version: KeptVersion) -> bool:
    """Return whether the content needs no peer."""
    content, index = of_kept(version)[0], place.volume.index
    if version.size or not content.size or version.name.endswith(BLOCKS_ONLY):
        return True
    return bool(index.rows.paths_with_hash(content.hash) or index.ledger.kept_with_hash(content.hash))


def _is_gone(place: Place, path: RelPath) -> bool:
    row = place.volume.index.rows.row(path)
    return row is None or row.applied.observation is None


def _present(place: Place, row: Row | None) -> dict[str, Any]:
    """Return what the path shows, or since when and through whom it shows nothing."""
    heading = {"path": place.shown(), "version": LIVE, "member": "", "kept_ns": None, "cause": "", "by": ""}
    if row is None:
        return _described(Content(Kind.ABSENT), None) | heading
    member = _author(place, row.applied.content_dot)
    if row.applied.observation is not None:
        return _described(*shown_by(row.applied)) | heading | {"member": member}
    gone = [entry for entry in row.record.content.entries if entry.value.kind is Kind.ABSENT]
    last = max(gone, key=lambda entry: entry.hlc, default=None)
    value = _described(Content(Kind.ABSENT, mtime_ns=last.hlc if last is not None else 0), None)
    return value | heading | {"member": _author(place, last.dot if last is not None else None)}


def _conflict(place: Place, conflict: Conflict) -> dict[str, Any]:
    row = place.volume.index.rows.row(conflict.path)
    assert row is not None, "a conflict of nothing"
    kept = {_bytes_of(of_kept(v)[0]): v.id for v in reversed(place.volume.index.ledger.kept(conflict.path))}
    group = place.volume.rules.group_of(conflict.path)
    entries: dict[Dot, ContentEntry | MetaEntry] = {entry.dot: entry for entry in row.record.content.entries}
    entries |= {entry.dot: entry for entry in row.record.meta.entries}
    return {
        "volume": place.volume.name,
        "path": place.shown(conflict.path),
        "half": conflict.half,
        "policy": list(group.policy) if group is not None else [],
        "versions": [
            _contestant(place, entries[dot], kept) | {"live": dot == conflict.dots[0]} for dot in conflict.dots
        ],
    }


def _contestant(place: Place, entry: ContentEntry | MetaEntry, kept: dict[Content, str]) -> dict[str, Any]:
    """Return one side of a conflict. `kept` is its version here, empty where its author has it, or it is live."""
    member = {"member": _author(place, entry.dot)}
    if isinstance(entry, MetaEntry):
        return _described(Content(entry.kind, mtime_ns=entry.hlc), entry.value) | member | {"kept": ""}
    return _described(entry.value, entry.snapshot) | member | {"kept": kept.get(_bytes_of(entry.value), "")}


def _bytes_of(content: Content) -> Content:
    return msgspec.structs.replace(content, mtime_ns=0)


def _live_piece(root: Root, path: RelPath, offset: int) -> bytes:
    """Read a piece of what a path shows; for a thread."""
    with root.tree.open_file(path) as descriptor:
        return os.pread(descriptor, READ_SIZE, offset)


def _kept_piece(root: Root, names: list[bytes], paths: list[RelPath], digest: bytes, offset: int) -> bytes:
    """Read a piece of a content from the first place that has it; for a thread."""
    fetched = root.stage.partials.opened(digest)
    for opened in (*map(root.stage.kept.open_file, names), *map(root.tree.open_file, paths), fetched):
        with contextlib.suppress(FileNotFoundError), opened as descriptor:
            if len(names) == 1 or blocks.verify(descriptor, os.fstat(descriptor).st_size, digest):
                return os.pread(descriptor, READ_SIZE, offset)
    raise FileNotFoundError(errno.ENOENT, "its content is at another member; restore it to look at it")
