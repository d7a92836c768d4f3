"""Programs that pass a mount by are named, and nobody else."""

import json
import os
import subprocess
import sys
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


APART = """
import json, subprocess, sys
from csfs.mount import bypass, mountinfo
start, stop, path = sys.argv[1:]
subprocess.run([sys.executable, *json.loads(start)], check=True)
print(json.dumps([one for one in bypass.passing(path) if "namespace" in one.how]))
subprocess.run([sys.executable, *json.loads(stop)], check=True)
"""


def test_threads_of_the_kernel_are_not_named(volume: Mounted) -> None:
    line = [json.dumps(volume.line(what)) for what in ("start", "stop")]
    apart = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", APART]
    done = subprocess.run([*apart, *line, str(volume.path)], capture_output=True, text=True, timeout=60, check=True)
    named = [pid for pid, _, _ in json.loads(done.stdout)]
    assert named, "in our own namespace it is not mounted"
    for pid in named:
        assert Path(f"/proc/{pid}/cmdline").read_bytes(), "what has no command line is the kernel's"
