"""Locks between processes of one host, and mappings that are nobody else's."""

import fcntl
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount
F_OFD_SETLK = 37
LOCKS = {
    "flock": "fcntl.flock(file, fcntl.LOCK_EX)",
    "fcntl": "fcntl.lockf(file, fcntl.LOCK_EX, 10, 5)",
    "OFD": f"fcntl.fcntl(file, {F_OFD_SETLK}, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 5, 10, 0))",
}
TRIED: dict[str, Callable[[BinaryIO], object]] = {
    "flock": lambda file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "fcntl": lambda file: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 7),
    "OFD": lambda file: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 7),
}


def holder(path: Path, lock: str) -> "subprocess.Popen[bytes]":
    """Return a process that holds a lock until it is killed."""
    script = f"import fcntl, struct, sys\nfile = open(sys.argv[1], 'r+b')\n{lock}\nprint(flush=True)\nsys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    return process


@pytest.mark.parametrize("kind", LOCKS)
def test_what_a_process_has_locked_others_get_when_it_dies(mounted: Mounted, kind: str) -> None:
    path = mounted.path / "file"
    path.write_bytes(b"x" * 100)
    process = holder(path, LOCKS[kind])
    with open(path, "r+b") as file:
        with pytest.raises(BlockingIOError):
            TRIED[kind](file)
        if kind != "flock":
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 50)  # another part
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind_held, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, asked))
            assert (kind_held, start, length) == (fcntl.F_WRLCK, 5, 10)
            assert pid == (process.pid if kind == "fcntl" else -1)
        wanted = LOCKS["flock" if kind == "flock" else "fcntl"]
        script = f"import fcntl, sys\nfile = open(sys.argv[1], 'r+b')\n{wanted}"
        waiting = subprocess.Popen([sys.executable, "-c", script, path])
        process.kill()
        process.communicate()
        assert waiting.wait(20) == 0


def test_a_private_mapping_is_seen_by_nobody(mounted: Mounted) -> None:
    path = mounted.path / "file"
    path.write_bytes(b"x" * 8192)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8192, access=mmap.ACCESS_COPY) as private:
        private[:4] = b"mine"
        assert path.read_bytes() == b"x" * 8192
        os.pwrite(file.fileno(), b"theirs", 4096)
        assert private[4096:4102] == b"theirs"  # a page that was not written to
        assert private[:4] == b"mine"
    assert path.read_bytes() == b"x" * 4096 + b"theirs" + b"x" * 4090


def test_processes_share_a_mapping_and_a_program_runs_from_the_volume(mounted: Mounted) -> None:
    path = mounted.path / "file"
    path.write_bytes(bytes(4096))
    script = "import mmap, sys\nwith open(sys.argv[1], 'r+b') as f, mmap.mmap(f.fileno(), 0) as m: m[10:14] = b'text'"
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 4096) as shared:
        subprocess.run([sys.executable, "-c", script, path], check=True)
        assert shared[10:14] == b"text"
    program = mounted.path / "program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    subprocess.run([program], check=True)
    (mounted.path / "running").write_bytes(Path("/bin/cat").read_bytes())
    (mounted.path / "running").chmod(0o755)
    with subprocess.Popen([mounted.path / "running"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"\n"
        with pytest.raises(OSError, match="busy"):
            open(mounted.path / "running", "r+b").close()  # a program that runs
        running.stdin.close()
