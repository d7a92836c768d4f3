"""A volume on a real file system, and what tests need to make difficult ones."""

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.store.owners import FixedAccounts, Owners
from csfs.store.stage import Stage
from csfs.store.tree import Tree

USERS = {"root": 0, "alice": 1001, "bob": 1002}
GROUPS = {"root": 0, "staff": 2001}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """The directory underneath."""
    path = tmp_path / "volume"
    path.mkdir()
    return path


@pytest.fixture
def tree(volume: Path) -> Iterator[Tree]:
    root = os.open(volume, os.O_DIRECTORY)
    yield Tree(root, Owners(FixedAccounts(USERS, GROUPS)))
    os.close(root)


@pytest.fixture
def stage(tree: Tree) -> Iterator[Stage]:
    stage = Stage(tree)
    yield stage
    stage.close()


@pytest.fixture
def mounted_tmpfs() -> Iterator[Callable[..., None]]:
    """Mount a tmpfs over a directory until the test ends."""
    mounted: list[Path] = []

    def mount(path: Path, options: str = "size=1m") -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
        mounted.append(path)

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", str(path)], check=True)


def access_acl(user: int, bits: int = 6) -> bytes:
    """Return an access ACL as the kernel encodes it: 0640 plus `bits` for one user."""
    nobody = 0xFFFFFFFF
    entries = ((0x01, 6, nobody), (0x02, bits, user), (0x04, 4, nobody), (0x10, bits | 4, nobody), (0x20, 0, nobody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service, permitted and effective, as the kernel encodes it."""
