"""Whatever changes something at one member is followed by the other: every system call that there is for it, through real mounts."""

import mmap
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.support.members import Member, two_members
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.mutations import attributes, contents, names
from tests.cluster.mutations.calls import SIZE, Case, call, opened, prepared
from tests.trees import differences

Pair = tuple[Member, Member]
ALL: list[Case] = [*contents.CASES, *names.CASES, *attributes.CASES]
LINKS = {"links"}
"""Each name of a file with several is a file of its own at the other member."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two members that begin equal, with a directory for each case, named by its number."""
    tree = tmp_path_factory.mktemp("cases") / "tree"
    tree.mkdir()
    for number in range(len(ALL)):
        prepared(tree / str(number))
    with two_members(tmp_path_factory.mktemp("members") / "m", tree) as members:
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


@pytest.mark.parametrize("number", range(len(ALL)), ids=[name for name, _ in ALL])
def test_what_a_system_call_changes_is_followed(pair: Pair, number: int) -> None:
    ours, theirs = (member.tree / str(number) for member in pair)
    before = look(ours)
    ALL[number][1](ours)
    assert look(ours) != before, "this has changed nothing"
    pair[0].wait()
    assert differences(str(ours), str(theirs), ignore=LINKS) == []


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
