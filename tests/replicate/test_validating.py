"""Validators: what they are given, what becomes of what they say, and that none of them holds up anything."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.config.commands import ValidatorSettings
from csfs.core.objects import Applied, Content, Kind, Observation, Stamp
from csfs.core.patches import Patch
from csfs.core.paths import RelPath
from csfs.core.versions import Dot, Incarnation
from csfs.engine.live import new_row
from csfs.index.index import Index
from csfs.replicate import running, validating
from csfs.replicate.running import OUTPUT_SIZE_MAX
from csfs.replicate.sources import wanting
from csfs.replicate.validating import SAID_MAX, Validation
from csfs.replicate.volume import Root, Volume
from csfs.store.hashing import hash_bytes
from csfs.store.owners import Owners
from csfs.store.patching import FromPatches
from csfs.store.stage import PATCHED_SIZE_MAX, Source, Stage
from csfs.store.tree import Tree
from scripts.support.members import until
from tests.replicate.alone import rules_of

PATH = RelPath(b"d/rules.conf")
GOOD, BAD = b"good\n", b"bad\n"


def script(text: str) -> ValidatorSettings:
    """Return a validator that runs a shell script with the file as its argument."""
    return ValidatorSettings(("/d",), ("/bin/sh", "-c", text, "sh", "{file}"))


GREP = script('grep -q good "$1" || { echo "line 1 of $1"; echo is wrong; exit 3; }')


@pytest.fixture
async def volume(tmp_path: Path) -> AsyncIterator[Volume]:
    (tmp_path / "tree" / "d").mkdir(parents=True)
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    volume = Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners())
    descriptor = os.open(tmp_path / "tree", os.O_RDONLY)
    tree = Tree(descriptor, treated=volume.treated)
    stage = Stage(tree)
    volume.root = Root(descriptor, tree, stage)
    yield volume
    stage.close()
    os.close(descriptor)
    index.close()


def asking(volume: Volume, tmp_path: Path, *validators: ValidatorSettings) -> Validation:
    validation = Validation(volume, lambda source, content_hash: None)
    validation.configure(validators, str(tmp_path / "run" / "validating"))
    return validation


async def test_what_is_refused_is_told_with_the_files_own_name_and_no_copy_is_left(
    volume: Volume, tmp_path: Path
) -> None:
    validation = asking(volume, tmp_path, GREP)
    assert await validation.verdict(PATH, GOOD) == ""
    assert await validation.verdict(PATH, BAD) == "/bin/sh refuses it (exit 3): line 1 of d/rules.conf is wrong"
    assert await validation.verdict(RelPath(b"elsewhere"), BAD) == "", "no pattern of it covers that"
    assert list((tmp_path / "run" / "validating").iterdir()) == []


async def test_a_validator_sees_a_private_copy_of_the_same_name_and_nothing_of_the_daemon(
    volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD_FOR_A_TEST", "inherited")
    told = tmp_path / "told"
    tell = f'{{ basename "$1"; stat -c "%a %u" "$1" "$(dirname "$1")"; pwd; cat; env; }} >{told}'
    assert await asking(volume, tmp_path, script(tell)).verdict(PATH, GOOD) == ""
    lines = told.read_text().splitlines()
    assert lines[:4] == ["rules.conf", f"600 {os.getuid()}", f"700 {os.getuid()}", "/"]
    names = {line.split("=")[0] for line in lines[4:]}
    assert names <= {"PATH", "LC_ALL", "HOME", "PWD", "SHLVL", "_", "OLDPWD"}


async def test_a_command_without_an_end_is_ended_with_all_that_it_started_and_holds_up_nothing(
    volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validating, "TIMEOUT_S", 0.3)
    pids = tmp_path / "pids"
    validation = asking(volume, tmp_path, script(f"sleep 60 & echo $! $$ >{pids}; sleep 60"))
    said, turns = "", 0

    async def ask() -> None:
        nonlocal said
        said = await validation.verdict(PATH, GOOD)

    begun = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        while not said:
            await trio.sleep(0.01)
            turns += 1
    assert said.startswith("/bin/sh refuses it (took longer than 0.3 s)")
    assert time.monotonic() - begun < 5
    assert turns > 5, "the loop went on"
    await trio.to_thread.run_sync(
        until, lambda: not any(is_running(int(pid)) for pid in pids.read_text().split()), "both ended"
    )


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_a_validator_says_is_cut_short(volume: Volume, tmp_path: Path) -> None:
    said = await asking(volume, tmp_path, script("head -c 20000000 /dev/zero | tr '\\0' x; exit 1")).verdict(PATH, GOOD)
    assert len(said) <= SAID_MAX
    assert said.count("x") > 100
    code, output = await running.ran(["/bin/sh", "-c", "head -c 100000 /dev/zero"], 10)
    assert (code, len(output)) == (0, OUTPUT_SIZE_MAX)


async def test_a_command_that_is_not_here_validates_nothing_and_is_told_of_unless_a_profile_has_it(
    volume: Volume, tmp_path: Path
) -> None:
    absent = ValidatorSettings(("/d",), ("no-such-command-anywhere", "{file}"))
    usual = ValidatorSettings(("/d",), ("no-such-command-either", "{file}"), optional=True)
    validation = asking(volume, tmp_path, absent, usual)
    assert await validation.verdict(PATH, BAD) == ""
    assert validation.missing() == [absent]


async def test_who_refuses_what_is_live_too_is_passed_over(volume: Volume, tmp_path: Path) -> None:
    validation = asking(volume, tmp_path, script("echo a directory is missing; exit 1"))
    assert "a directory is missing" in await validation.verdict(PATH, GOOD), "nothing is live yet"
    (tmp_path / "tree" / "d" / "rules.conf").write_bytes(GOOD)
    assert volume.root is not None
    group = volume.rules.group_of(PATH)
    assert group is not None
    row = msgspec.structs.replace(new_row(group), applied=Applied(observation=volume.root.tree.observe(PATH)))
    with volume.index.transaction():
        volume.index.rows.put(PATH, row)
    assert await validation.verdict(PATH, BAD) == ""
    assert "exit 3" in await asking(volume, tmp_path, GREP).verdict(PATH, BAD), "this one takes what is live"


@pytest.mark.parametrize("optional", [False, True])
async def test_a_merge_is_made_only_where_every_validator_is_here(
    volume: Volume, tmp_path: Path, *, optional: bool
) -> None:
    absent = ValidatorSettings(("/d",), ("no-such-command-anywhere", "{file}"), optional=optional)
    elsewhere = ValidatorSettings(("/e",), ("no-such-command-either", "{file}"))
    said = await asking(volume, tmp_path, absent).merge_verdict(PATH, GOOD)
    assert said == "no-such-command-anywhere is not installed here, which would have to take it"
    assert await asking(volume, tmp_path, elsewhere, GREP).merge_verdict(PATH, GOOD) == ""


async def test_a_merge_that_a_validator_refuses_is_not_made_though_it_refuses_what_is_live_too(
    volume: Volume, tmp_path: Path
) -> None:
    (tmp_path / "tree" / "d" / "rules.conf").write_bytes(BAD)
    assert volume.root is not None
    group = volume.rules.group_of(PATH)
    assert group is not None
    row = msgspec.structs.replace(new_row(group), applied=Applied(observation=volume.root.tree.observe(PATH)))
    with volume.index.transaction():
        volume.index.rows.put(PATH, row)
    validation = asking(volume, tmp_path, GREP)
    assert await validation.verdict(PATH, BAD) == "", "what somebody wrote is passed on"
    assert "exit 3" in await validation.merge_verdict(PATH, BAD)


async def test_what_cannot_be_put_together_to_be_validated_is_to_be_had_elsewhere(
    volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A little that was left of a very large file: what was written to that cannot be applied in memory."""
    monkeypatch.setattr(validating, "AGAIN_S", 0)
    failed: list[tuple[Source, bytes]] = []
    validation = Validation(volume, lambda source, content_hash: failed.append((source, content_hash)))
    validation.configure([GREP], str(tmp_path / "run" / "validating"))
    base = Observation(
        stamp=Stamp(1, 2, 3, 4), kind=Kind.FILE, mode=0o600, uid=0, gid=0, size=PATCHED_SIZE_MAX + 1, hash=b"h"
    )
    source = FromPatches(PATH, base, None, (Patch(hash_bytes(GOOD)[0], len(GOOD), b"h", Dot(Incarnation(1), 1), ()),))
    wanted = wanting(PATH, Content(Kind.FILE, len(GOOD), hash_bytes(GOOD)[0]), None, base)
    async with trio.open_nursery() as nursery:
        volume.nursery = nursery
        assert not validation.allows(wanted, source)
    assert failed == [(source, hash_bytes(GOOD)[0])]
    assert PATH in volume.to_apply
