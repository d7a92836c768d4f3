"""`csfs restore`: a kept version becomes live again, or everything in a directory as it was at a time."""

import time
from collections.abc import Sequence
from typing import Any

import trio

from csfs.core.objects import Content, Kind, Meta, Observation
from csfs.core.paths import ROOT, RelPath, parent_of
from csfs.daemon.deciding import Deciding, Decision, check_may_decide, known_at
from csfs.daemon.places import Handler, Place, Places, quoted
from csfs.daemon.versions import chosen, of_kept
from csfs.engine.live import Live, is_same_meta
from csfs.errors import ConfigError, CsfsError
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.volume import Root
from csfs.store import blocks

NOT_KEPT = "made after that time; what was there before is not kept here"


class Restoring:
    """Brings versions back."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def handlers(self) -> dict[str, Handler]:
        """Return what is answered here, by command."""
        return {"restore": self._restore, "revert": self._revert}

    async def _restore(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Bring one version back; `outside` in the answer says that its new place is not in the same volume."""
        place = self._places.of(arguments.get("path"))
        version = chosen(place, str(arguments.get("version") or ""))
        target = place
        if arguments.get("to") is not None:
            other = self._places.find(arguments["to"])
            if other is None or other.volume is not place.volume:
                return {"restored": [], "outside": True}
            target = other
            parent = target.volume.engine.live(parent_of(target.path))
            if parent_of(target.path) != ROOT and (parent is None or parent.content.kind is not Kind.DIRECTORY):
                raise ConfigError(f"{target.shown(parent_of(target.path))} is no directory; make it first")
        elif version.is_lost:
            raise ConfigError(f"{place.shown()}: where {version.id} was live is not known; say --to PATH")
        place.check_mounted()
        await place.catch_up()
        check_may_decide(target, target.path)
        decision, what = _decision(target, target.path, version)
        if decision.error:
            raise ConfigError(f"{target.shown()}: {decision.error}")
        await _check_intact(place, version)
        wanted = [(decision, what, version)] if what else []
        return {"restored": await _carried_out(target, wanted, arguments), "outside": False}

    async def _revert(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Bring back what was live in a directory at a time, as far as it is kept; `undo` takes all of it back."""
        place, then_ns = self._places.of(arguments.get("path")), int(arguments["time_ns"])
        place.check_mounted()
        await place.catch_up()
        wanted = []
        for version in place.volume.index.ledger.kept_since(place.path, then_ns):
            if not version.is_lost:
                decision, what = await _reverted(place, version, then_ns)
                if what:
                    wanted.append((decision, what, version))
        # What is taken away goes children first, what comes back is made parents first.
        wanted.sort(key=lambda item: (item[2].is_absence, item[0].path))
        count = sum(version.is_absence for _, _, version in wanted)
        wanted[len(wanted) - count :] = reversed(wanted[len(wanted) - count :])
        before_ns = time.time_ns()
        restored = await _carried_out(place, wanted, arguments)
        undo = f"csfs restore {quoted(place.name())} --to-time @{before_ns // 10**9}.{before_ns % 10**9:09d}"
        return {"restored": restored, "undo": undo if any(item["undo"] for item in restored) else ""}


async def _reverted(place: Place, version: KeptVersion, then_ns: int) -> tuple[Decision, str]:
    """Return what becomes of one path, with what is wrong with it as its error."""
    observation = version.applied.observation
    decision, what = _decision(place, version.path, version)
    if not what or decision.error:
        return decision, what
    try:
        check_may_decide(place, version.path)
        if observation is not None and _is_made_after(observation, then_ns):
            raise ConfigError(NOT_KEPT)
        await _check_intact(place, version)
    except CsfsError as error:
        decision.error = str(error).removeprefix(f"{place.shown(version.path)}: ")
    return decision, what


def _is_made_after(observation: Observation, then_ns: int) -> bool:
    # A directory's times move with its entries, which have histories of their own.
    is_directory = observation.kind is Kind.DIRECTORY
    return not is_directory and min(observation.stamp.ctime_ns, observation.mtime_ns) > then_ns


async def _carried_out(
    place: Place, wanted: Sequence[tuple[Decision, str, KeptVersion]], arguments: dict[str, Any]
) -> list[dict[str, Any]]:
    possible = [decision for decision, _, _ in wanted if not decision.error]
    results: dict[RelPath, dict[str, Any]] = {}
    if not arguments.get("dry_run"):
        told = await Deciding(place, Cause.RESTORED).carry_out(possible)
        results = {decision.path: result for decision, result in zip(possible, told, strict=True)}
    return [
        {"path": place.shown(decision.path), "error": decision.error, "undo": ""}
        | results.get(decision.path, {})
        | {"what": what, "version": version.id, "size": of_kept(version)[0].size}
        for decision, what, version in wanted
    ]


def _decision(place: Place, path: RelPath, version: KeptVersion) -> tuple[Decision, str]:
    """Return what makes a version live at a path, and that in a word: empty if it is so already."""
    content, meta = of_kept(version)
    live = place.volume.engine.live(path)
    decision = Decision(path, content, meta, known_at(place, path), version.applied.content_dot)
    if _is_so(live, content, meta):
        return decision, ""
    present = live.content.kind if live is not None else Kind.ABSENT
    is_used = present is Kind.DIRECTORY and place.volume.index.rows.has_live_below(path)
    if is_used and content.kind not in (Kind.DIRECTORY, Kind.ABSENT):
        decision.error = "it is a directory now; move it away first, or restore to another name"
    if content.kind is Kind.ABSENT:
        return decision, "remove"
    if live is not None and live.content == content:
        decision.content = None
        return decision, "attributes"
    return decision, "create" if present is Kind.ABSENT else "replace"


def _is_so(live: Live | None, content: Content, meta: Meta | None) -> bool:
    if live is None or live.content.kind is Kind.ABSENT:
        return content.kind is Kind.ABSENT
    return live.content == content and live.meta is not None and meta is not None and is_same_meta(live.meta, meta)


async def _check_intact(place: Place, version: KeptVersion) -> None:
    """Make sure that a version's content is what it was: what cannot be shown must not be decided."""
    content = of_kept(version)[0]
    if content.kind is not Kind.FILE or not version.size:
        return
    try:
        intact = await place.volume.with_root(_is_intact, version.name, content)
    except (OSError, CsfsError, trio.ClosedResourceError) as error:
        raise ConfigError(f"{place.shown(version.path)}: version {version.id} cannot be read: {error}") from error
    if not intact:
        raise ConfigError(f"{place.shown(version.path)}: version {version.id} is damaged in the kept store")


def _is_intact(root: Root, name: bytes, content: Content) -> bool:
    with root.stage.kept.open_file(name) as descriptor:
        return blocks.verify(descriptor, content.size, content.hash)
