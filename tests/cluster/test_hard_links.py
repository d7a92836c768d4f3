"""Names of one inode are names of one inode at peers, whatever is done through which of them."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.support.members import Member
from tests.trees import differences


def expect_equal(*members: Member) -> None:
    """All members have applied everything and have the same tree, the same names of the same inodes among it."""
    for member in members:
        member.wait()
    for member in members:
        volume = member.volume()
        state = (volume["problems"], volume["conflicts"], volume["pending"])
        assert state == ([], 0, 0)
    assert differences(str(members[0].tree), str(members[1].tree)) == []
    for member in members:
        assert differences(str(member.tree), f"{member.underneath}/.") == []


def shell(directory: Path, script: str) -> None:
    subprocess.run(["bash", "-ec", script], cwd=directory, check=True, capture_output=True)


ACTS: dict[str, str] = {
    "ln": "ln a n",
    "three names": "ln a n; ln n d/n; ln d/n m",
    "a write through the first name": "echo more >>a",
    "a write through the other name": "echo more >>b",
    "chmod through one name": "chmod 600 b",
    "chown through one name": "chown 1:2 b",
    "an extended attribute through one name": "setfattr -n user.csfs -v x b",
    "touch through one name": "touch -d 2020-01-01 b",
    "unlink of one name": "rm a",
    "unlink of one name, and a write through the other": "rm a; echo more >>b",
    "a rename of one name": "mv a d/renamed",
    "a rename of one name, and a write": "mv a d/renamed; echo more >>d/renamed",
    "a rename over one name": "echo new >x; mv x b",
    "a rename of one name over something else": "mv a alone",
    "cp --remove-destination": "cp --remove-destination alone b",
    "a copy that is equal in its place": "cp -p --remove-destination a copy; mv copy b",
    "sed -i": "sed -i s/linked/edited/ b",
    "ln -f over a file": "ln -f a alone",
    "ln -f over an equal file": "cp -p a equal; csfs_settle; ln -f a equal",
    "another inode's name": "ln -f c b",
    "a directory of names is moved": "ln a d/n; csfs_settle; mv d e",
    "symlinks and fifos": "ln -s x s; ln -P s s2; mkfifo f; ln f f2",
    "many names": "for i in $(seq 40); do ln a n$i; done; csfs_settle; echo more >>n7",
    "cp -al": "cp -al . ../$(basename $PWD)-copy",
    "tar": "tar cf ../$(basename $PWD).tar .; mkdir ../$(basename $PWD)-tar; tar xf ../$(basename $PWD).tar -C ../$(basename $PWD)-tar",
    "names in one directory and the next": "mkdir -p p q; for i in $(seq 20); do echo $i >p/$i; ln p/$i q/$i; done",
}


def sown(member: Member, name: str) -> Path:
    """Make a directory with two names of one inode, and two of another."""
    top = member.tree / name
    (top / "d").mkdir(parents=True)
    for name, other in (("a", "b"), ("c", "d/c")):
        (top / name).write_text(f"linked {name}\n")
        os.link(top / name, top / other)
    (top / "alone").write_text("alone\n")
    return top


@pytest.mark.parametrize("act", ACTS)
def test_what_is_done_to_names_is_done_at_the_peer(pair: tuple[Member, Member], act: str) -> None:
    alpha, beta = pair
    name = act.replace(" ", "-")
    top = sown(alpha, name)
    expect_equal(alpha, beta)
    *parts, last = ACTS[act].split("csfs_settle;")
    for part in parts:
        shell(top, part)
        alpha.wait()
    shell(top, last)
    expect_equal(alpha, beta)
    shell(beta.tree / name, "for f in $(find . -type f); do echo from the peer >>$f; done")
    expect_equal(beta, alpha)


def test_the_number_of_links_is_right_through_the_peers_mount(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    top = sown(alpha, "numbers")
    alpha.wait()
    there = beta.tree / "numbers"
    assert [(there / name).stat().st_nlink for name in ("a", "b", "alone")] == [2, 2, 1]
    os.link(top / "a", top / "n")
    alpha.wait()
    assert [(there / name).stat().st_nlink for name in ("a", "b", "n")] == [3, 3, 3]
    (top / "b").unlink()
    alpha.wait()
    assert [(there / name).stat().st_nlink for name in ("a", "n")] == [2, 2]
    assert (there / "a").stat().st_ctime_ns == (beta.underneath / "numbers/a").stat().st_ctime_ns
    expect_equal(alpha, beta)


def test_a_name_that_nobody_used_since_mounting_gets_what_is_written_through_another(
    pair: tuple[Member, Member],
) -> None:
    alpha, beta = pair
    sown(alpha, "unused")
    expect_equal(alpha, beta)
    alpha.umount()
    alpha.mount()
    alpha.wait()
    with open(alpha.tree / "unused/b", "a") as file:
        file.write("through b\n")
    alpha.wait()
    assert (beta.tree / "unused/a").read_text() == "linked a\nthrough b\n"
    expect_equal(alpha, beta)


OFFLINE: dict[str, Callable[[Path], None]] = {
    "linked": lambda top: os.link(top / "a", top / "n"),
    "written": lambda top: shell(top, "echo more >>b"),
    "removed": lambda top: (top / "a").unlink(),
    "apart": lambda top: shell(top, "cp -p --remove-destination a copy; mv copy b"),
    "another": lambda top: shell(top, "ln -f c b"),
    "together": lambda top: shell(top, "cp -p a equal; ln -f a equal; ln -f alone d/c"),
}


def test_what_was_done_to_names_offline_is_found_by_comparing(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    for name in OFFLINE:
        sown(alpha, f"offline-{name}")
    expect_equal(alpha, beta)
    alpha.umount()
    for name, act in OFFLINE.items():
        act(alpha.tree / f"offline-{name}")
    alpha.mount()
    expect_equal(alpha, beta)
