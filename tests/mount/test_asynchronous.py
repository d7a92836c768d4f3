"""Programs that write past the page cache, as databases do, while others read through it."""

import mmap
import os
import subprocess
import sys

import pytest

from tests.mount import asynchronous
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount
SIZE, ROUNDS = 640 * 1024, 1000
READER = """
import os, sys
while True:
    file = os.open(sys.argv[1], os.O_RDWR)
    for offset in range(0, int(sys.argv[2]), 4096):
        os.pread(file, 4096, offset)
    os.close(file)
"""


@pytest.mark.skipif(asynchronous.NUMBERS is None, reason="the system calls' numbers are not known here")
def test_what_was_written_past_the_cache_at_once_is_read(served: tuple[Mounted, FakeDaemon]) -> None:
    volume, _ = served
    path = volume.path / "database"
    path.write_bytes(bytes(SIZE))
    readers = [subprocess.Popen([sys.executable, "-c", READER, path, str(SIZE)]) for _ in range(2)]
    past, through = os.open(path, os.O_RDWR | os.O_DIRECT), os.open(path, os.O_RDONLY)
    buffer = mmap.mmap(-1, SIZE)
    try:
        with asynchronous.Writer(past, 1) as writer:
            for number in range(ROUNDS):
                wanted = bytes([number % 255 + 1])
                buffer[:] = wanted * SIZE
                writer.write(buffer, SIZE)
                found = os.pread(through, SIZE, 0)
                stale = [offset for offset in range(0, SIZE, 4096) if found[offset : offset + 1] != wanted]
                assert not stale, f"round {number}: {len(stale)} pages show what was there before, from byte {stale[0]}"
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
        os.close(past)
        os.close(through)
