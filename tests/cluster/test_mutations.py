"""Whatever changes something at one member is followed by the other: every system call that there is for it, through real mounts."""

import mmap
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.support.members import Member, two_members
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.mutations import attributes, contents, names, ring
from tests.cluster.mutations.calls import SIZE, Case, call, opened, prepared
from tests.trees import differences

Pair = tuple[Member, Member]
ALL: list[Case] = [*contents.CASES, *names.CASES, *attributes.CASES, *ring.CASES]
TOGETHER = 10
"""How many cases, each in a directory of its own, are waited for at once."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two members that begin equal, with a directory for each case, named by its number."""
    tree = tmp_path_factory.mktemp("cases") / "tree"
    tree.mkdir()
    for number in range(len(ALL)):
        prepared(tree / str(number))
    group = 'sockets = true\nxattrs = ["user.*", "system.*", "security.*", "trusted.*"]'
    with two_members(tmp_path_factory.mktemp("members") / "m", tree, group=group) as members:
        yield members
        expect_calm_logs(*members)


def look(directory: Path) -> list[object]:
    """Return all that can change about what is in a directory but for access times."""
    found: list[object] = []
    for above, below, files in os.walk(directory):
        for path in (Path(above), *(Path(above) / name for name in (*below, *files))):
            status = os.lstat(path)
            found += [path, status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns]
            found += [
                (one, os.getxattr(path, one, follow_symlinks=False))
                for one in os.listxattr(path, follow_symlinks=False)
            ]
            if stat.S_ISREG(status.st_mode):
                found.append(path.read_bytes())
    return found


@pytest.mark.parametrize(
    "first", range(0, len(ALL), TOGETHER), ids=[ALL[first][0] for first in range(0, len(ALL), TOGETHER)]
)
def test_what_a_system_call_changes_is_followed(pair: Pair, first: int) -> None:
    alpha, beta = pair
    numbers = range(first, min(first + TOGETHER, len(ALL)))
    for number in numbers:
        name, act = ALL[number]
        before = look(alpha.tree / str(number))
        act(alpha.tree / str(number))
        assert look(alpha.tree / str(number)) != before, f"{name} has changed nothing"
    alpha.wait()
    for number in numbers:
        found = differences(str(alpha.tree / str(number)), str(beta.tree / str(number)))
        assert found == [], ALL[number][0]


HELD: list[tuple[str, Callable[[int], object]]] = [
    ("write", lambda descriptor: os.pwrite(descriptor, b"held", 100)),
    ("ftruncate", lambda descriptor: os.ftruncate(descriptor, SIZE // 2)),
    ("fallocate", lambda descriptor: call("fallocate", descriptor, 0, SIZE, 100)),
    ("fchmod", lambda descriptor: os.fchmod(descriptor, 0o604)),
    ("fsetxattr", lambda descriptor: os.setxattr(descriptor, "user.held", b"x")),
    ("futimens", lambda descriptor: os.utime(descriptor, ns=(5, 6))),
]


def test_what_is_done_through_a_descriptor_is_followed_while_it_stays_open(pair: Pair) -> None:
    alpha, beta = pair
    prepared(alpha.tree / "held")
    with opened(alpha.tree / "held" / "file") as descriptor:
        for name, act in HELD:
            before = look(alpha.tree / "held")
            act(descriptor)
            assert look(alpha.tree / "held") != before
            alpha.wait()
            assert differences(str(alpha.tree / "held"), str(beta.tree / "held")) == [], name
        with mmap.mmap(descriptor, SIZE + 100) as mapping:
            for number, text in enumerate((b"first", b"again")):
                mapping[number : number + 5] = text
                mapping.flush()
                alpha.wait()
                assert differences(str(alpha.tree / "held"), str(beta.tree / "held")) == [], text


def test_what_lies_deeper_than_a_path_may_be_long_is_followed(pair: Pair) -> None:
    alpha, beta = pair
    deep = ["d" * 200] * 40
    directory = os.open(alpha.tree, os.O_PATH)
    for name in deep:
        os.mkdir(name, dir_fd=directory)
        directory = below(directory, name)
    for text in (b"made", b"written again"):
        file = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory)
        os.write(file, text)
        os.close(file)
        alpha.wait()
        theirs = os.open(beta.tree, os.O_PATH)
        for name in deep:
            theirs = below(theirs, name)
        with open(os.open("file", os.O_RDONLY, dir_fd=theirs), "rb") as found:
            assert found.read() == text
        os.close(theirs)
    os.unlink("file", dir_fd=directory)
    os.close(directory)
    alpha.wait()
    subprocess.run(["rm", "-r", alpha.tree / deep[0]], check=True)
    alpha.wait()
    assert not (beta.tree / deep[0]).exists()
    assert (alpha.volume()["problems"], beta.volume()["problems"]) == ([], [])


def below(directory: int, name: str) -> int:
    """Return a descriptor of a directory in another one, which is closed."""
    found = os.open(name, os.O_PATH, dir_fd=directory)
    os.close(directory)
    return found
