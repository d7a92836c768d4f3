"""Validators: programs that say whether a file may become live here, before it does (design, "Safety nets").

What one refuses stays out: known, and not applied (R3). The commands come from the cluster's signed configuration alone, and run
beside everything else: on a copy, in a clean environment, with an end.
"""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from csfs.config.commands import FILE_PLACEHOLDER, ValidatorSettings
from csfs.core.groups import compiled_any
from csfs.core.objects import Content, Kind
from csfs.core.paths import RelPath, name_of, shown
from csfs.core.rows import Plan
from csfs.errors import CsfsError
from csfs.replicate import running
from csfs.replicate.refusals import Refusal
from csfs.replicate.sources import is_at_fault
from csfs.replicate.volume import Root, Volume
from csfs.store.stage import Source

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
SAID_MAX: Final = 400
"""Characters of what a validator said that are shown."""
VALIDATED_SIZE_MAX: Final = 4 << 20
AT_ONCE_MAX: Final = 4
VERDICTS_MAX: Final = 10_000
AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Validator:
    settings: ValidatorSettings
    covers: re.Pattern[bytes]

    @property
    def program(self) -> str | None:
        """Where its command is on this host."""
        return running.found(self.settings.command[0])


@dataclass(frozen=True, slots=True)
class _Verdict:
    hash: bytes
    reason: str


class Validation:
    """Runs one volume's validators. `failed` hears of a source that did not have what was to be validated after all."""

    def __init__(self, volume: Volume, failed: Callable[[Source, bytes], None]) -> None:
        self._volume = volume
        self._failed = failed
        self._settings: tuple[ValidatorSettings, ...] = ()
        self._validators: tuple[_Validator, ...] = ()
        self._scratch = ""
        self._verdicts: dict[RelPath, _Verdict] = {}
        self._under_way: set[RelPath] = set()
        self._limiter = trio.Semaphore(AT_ONCE_MAX)

    def configure(self, validators: Sequence[ValidatorSettings], scratch: str) -> None:
        """Use these from now on, and have them asked again of whatever was refused.

        `scratch` is a directory of root's own for the copies.
        """
        self._scratch = scratch
        self._settings = tuple(validators)
        self._validators = tuple(_Validator(one, compiled_any(one.paths)) for one in validators)
        refused = [path for path, verdict in self._verdicts.items() if verdict.reason]
        self._verdicts.clear()
        self._volume.apply_soon(refused)

    def missing(self) -> list[ValidatorSettings]:
        """Return the validators whose command this host does not have: what they are for is not validated."""
        return [one.settings for one in self._validators if not one.settings.optional and one.program is None]

    def allows(self, plan: Plan, source: Source) -> bool:
        """Return whether a file may be installed. One that nobody has been asked about is planned anew once somebody was."""
        path, volume = plan.path, self._volume
        if plan.content.kind is not Kind.FILE or not self._asked(path):
            return True
        verdict = self._verdicts.get(path)
        if verdict is None or verdict.hash != plan.content.hash:
            if path not in self._under_way:
                self._under_way.add(path)
                assert volume.nursery is not None
                volume.nursery.start_soon(self._ask, plan, source)
            return False
        if verdict.reason:
            volume.refuse(path, Refusal(plan.content_dot, verdict.reason))
        return not verdict.reason

    def asks_of(self, path: RelPath) -> bool:
        """Return whether what becomes live at a path is validated."""
        return bool(self._validators) and bool(self._asked(path))

    async def verdict(self, path: RelPath, data: bytes) -> str:
        """Return why this must not become live at a path, empty if it may.

        A validator that refuses what is live there, too, says nothing about the change: what it needs is not there, perhaps.
        """
        for validator in self._asked(path):
            reason = await self._run(validator, path, data)
            if reason and not await self._refuses_what_is_live(validator, path):
                return reason
        return ""

    async def merge_verdict(self, path: RelPath, data: bytes) -> str:
        """Return why a merge must not be made, empty if it may.

        Nobody has written this, so that every validator has to take it, and none is passed over: not for what is live, nor because its
        command is not here. Without the merge the next policy decides.
        """
        for validator in self._validators:
            if not validator.covers.fullmatch(path):
                continue
            if validator.program is None:
                return f"{validator.settings.command[0]} is not installed here, which would have to take it"
            reason = await self._run(validator, path, data)
            if reason:
                return reason
        return ""

    def _asked(self, path: RelPath) -> list[_Validator]:
        return [one for one in self._validators if one.covers.fullmatch(path) and one.program is not None]

    async def _ask(self, plan: Plan, source: Source) -> None:
        path, volume = plan.path, self._volume
        try:
            async with self._limiter:
                reason = await self._reason(plan, source)
            if len(self._verdicts) >= VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[path] = _Verdict(plan.content.hash, reason)
            if reason:
                log.warning("%s: %s refused: %s", volume.name, shown(path), reason)
        except trio.ClosedResourceError:
            pass  # unmounted: it is planned anew at the next mount
        except (OSError, CsfsError) as error:
            # What was to be read is gone, or there is no room for a copy: the same again in a moment.
            log.info("%s: %s not validated: %s", volume.name, shown(path), error)
            if is_at_fault(source, error):
                self._failed(source, plan.content.hash)
            await trio.sleep(AGAIN_S)
        except Exception:
            log.exception("%s: unexpected error validating %s", volume.name, shown(path))
            await trio.sleep(TIMEOUT_S)
        finally:
            self._under_way.discard(path)
        volume.apply_soon([path])

    async def _reason(self, plan: Plan, source: Source) -> str:
        if plan.content.size > VALIDATED_SIZE_MAX:
            return f"{plan.content.size} bytes, more than the {VALIDATED_SIZE_MAX} that can be validated"
        return await self.verdict(plan.path, await self._volume.with_root(_content, plan.content, source))

    async def _refuses_what_is_live(self, validator: _Validator, path: RelPath) -> bool:
        row = self._volume.index.rows.row(path)
        live = row.applied.observation if row is not None else None
        if live is None or live.kind is not Kind.FILE or live.size > VALIDATED_SIZE_MAX:
            return False
        reason = await self._run(validator, path, await self._volume.with_root(_live, path, live.size))
        if reason:
            log.warning("%s: %s: passed over, it refuses what is live: %s", self._volume.name, shown(path), reason)
        return bool(reason)

    async def _run(self, validator: _Validator, path: RelPath, data: bytes) -> str:
        """Run a validator on a copy; return what it said if it refuses."""
        program = validator.program
        if program is None:
            return ""
        directory = await trio.to_thread.run_sync(_copied, self._scratch, name_of(path), data)
        try:
            copy = os.path.join(directory, os.fsdecode(name_of(path)))
            arguments = [part.replace(FILE_PLACEHOLDER, copy) for part in validator.settings.command[1:]]
            code, said = await running.ran([program, *arguments], TIMEOUT_S)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(shutil.rmtree, directory, True)
        if code == 0:
            return ""
        words = " ".join(shown(said).replace("\\x0a", " ").replace(copy, shown(path)).replace(directory, "").split())
        ended = f"took longer than {TIMEOUT_S:g} s" if code is None else f"exit {code}"
        return f"{validator.settings.command[0]} refuses it ({ended}): {words}"[:SAID_MAX]


def _copied(scratch: str, name: bytes, data: bytes) -> str:
    """Write a copy that root alone can read, in a directory of its own; return the directory. For a thread."""
    os.makedirs(scratch, mode=0o700, exist_ok=True)
    directory = tempfile.mkdtemp(dir=scratch)
    try:
        with open(os.path.join(os.fsencode(directory), name), "xb", opener=_private) as file:
            file.write(data)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _content(root: Root, content: Content, source: Source) -> bytes:
    return root.stage.read(content, source)


def _live(root: Root, path: RelPath, size: int) -> bytes:
    with root.tree.open_file(path) as descriptor:
        return os.pread(descriptor, size, 0)
