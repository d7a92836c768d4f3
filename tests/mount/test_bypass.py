"""Programs that pass a mount by are named, and nobody else."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csfs.mount import bypass
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount


@contextmanager
def running(*line: str, cwd: Path = Path("/"), stdout: int | None = None) -> Iterator[int]:
    """Run a program that waits until the block ends; give its process id once it runs."""
    process = subprocess.Popen(line, cwd=cwd, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()
    try:
        yield process.pid
    finally:
        process.communicate()


WAITING = ("sh", "-c", "echo >&2; read line")


def named(volume: Mounted) -> set[tuple[int, str]]:
    ours = {os.getpid()}
    return {(one.pid, one.how) for one in bypass.passing(str(volume.path), ours) if str(volume.base) in one.how}


def test_programs_that_were_there_before_are_named(volume: Mounted) -> None:
    (volume.path / "directory").mkdir()
    with (
        open(volume.path / "file", "w") as writing,
        running(*WAITING, cwd=volume.path / "directory") as working,
        running(*WAITING, stdout=writing.fileno()) as writer,
        open(volume.path / "file") as reading,
        running(*WAITING, stdout=reading.fileno()),
        running(*WAITING, cwd=volume.base) as above,
    ):
        assert named(volume) == set(), "nothing is mounted"
        volume.start()
        try:
            with (
                running(*WAITING, cwd=volume.path / "directory") as later,
                open(volume.path / "file", "a") as through,
                running(*WAITING, stdout=through.fileno()),
            ):
                found = named(volume)
        finally:
            volume.stop()
    assert found == {(working, f"works in {volume.path}/directory"), (writer, f"writes {volume.path}/file")}
    assert not {above, later} & {pid for pid, _ in found}


def test_a_mount_namespace_without_the_mount_is_named_by_one_process(volume: Mounted) -> None:
    apart = ("unshare", "--mount", "--propagation", "private", "sh", "-c", "sh -c 'echo >&2; read line'; true")
    with running(*apart) as before:
        volume.start()
        try:
            with running(*apart) as after:
                found = bypass.passing(str(volume.path))
        finally:
            volume.stop()
    apart_from_it = [one for one in found if "namespace" in one.how and one.pid in (before, after)]
    assert [one.pid for one in apart_from_it] == [before]
