"""What members remember: tombstones that go, records that are lost and come back, members that are restored or cloned."""

import contextlib
import json
import os
import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from csfs.core.objects import Applied, Stamp
from csfs.core.records import Record
from csfs.core.rows import Row
from csfs.errors import ExitCode
from csfs.index.columns import packed_shown
from scripts.support.members import VOLUME, Member, all_have_applied, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_versions import told
from tests.trees import differences


@pytest.fixture
def members(tmp_path: Path) -> Iterator[tuple[Member, Member]]:
    """Two members of their own: these tests take daemons and indexes apart."""
    with two_members(tmp_path / "m") as pair:
        yield pair
        expect_calm_logs(*pair)


def index_of(member: Member, query: str) -> list[Any]:
    """Return what a query finds in a member's index."""
    with contextlib.closing(sqlite3.connect(f"file:{member.home.index(VOLUME)}?mode=ro", uri=True)) as index:
        return index.execute(query).fetchall()


def tombstones(member: Member) -> int:
    """Return how many paths a member knows that are not live."""
    ((count,),) = index_of(member, "SELECT count(*) FROM rows WHERE NOT live")
    return int(count)


def settled(*members: Member) -> None:
    """Return when each has heard from the other that it has settled all that it knows."""
    all_have_applied(*members)

    def is_told(member: Member) -> bool:
        ((held,),) = index_of(member, "SELECT count(*) FROM peers WHERE length(standings) > 2 AND length(tokens) > 30")
        return bool(held)

    for member in members:
        until(lambda m=member: is_told(m), f"{member.name} has heard how the other stands")  # type: ignore[misc]


def test_tombstones_go_once_both_have_applied_them(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    for number in range(20):
        (alpha.tree / f"file{number}").write_text(str(number))
    alpha.wait()
    for number in range(20):
        (beta.tree / f"file{number}").unlink()
    beta.wait()
    for member in members:
        until(lambda m=member: tombstones(m) == 0, f"{member.name} forgets")  # type: ignore[misc]
    (alpha.tree / "file1").write_text("again")
    alpha.wait()
    assert (beta.tree / "file1").read_text() == "again"
    assert differences(str(alpha.tree), str(beta.tree)) == []


@contextlib.contextmanager
def index_apart(member: Member) -> Iterator[sqlite3.Connection]:
    """Give a member's index while its daemon does not run."""
    member.stop_daemon()
    with contextlib.closing(sqlite3.connect(member.home.index(VOLUME))) as index:
        yield index
        index.commit()
    member.start_daemon()


def test_what_was_lost_from_a_record_comes_back_from_the_other_and_is_an_alarm(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    for name in ("one", "two", "three"):
        (alpha.tree / name).write_text(name)
    settled(*members)
    with index_apart(beta) as index:
        ((row,),) = index.execute("SELECT row FROM rows WHERE path = CAST('two' AS BLOB)")
        decoded = msgspec.msgpack.decode(row, type=Row)
        forgetful = msgspec.structs.replace(decoded, record=Record(decoded.record.content))
        index.execute("UPDATE rows SET row = ? WHERE path = CAST('two' AS BLOB)", (msgspec.msgpack.encode(forgetful),))
    replicating(*members)
    until(lambda: any("/two" in alarm for alarm in beta.volume()["alarms"]), "beta finds out")
    assert "does not say any more what it said of /two" in beta.logs()
    assert not alpha.volume()["alarms"]
    assert beta.csfs("status", check=False).returncode == ExitCode.FOUND
    (alpha.tree / "two").write_text("and goes on")
    alpha.wait()
    assert (beta.tree / "two").read_text() == "and goes on"
    assert not beta.volume()["conflicts"]
    assert verify(beta) == []
    assert not beta.volume()["alarms"]


def test_a_row_that_is_gone_is_noticed_and_both_stay_equal(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    for name in ("one", "two", "three"):
        (alpha.tree / name).write_text(name)
    settled(*members)
    with index_apart(beta) as index:
        index.execute("DELETE FROM rows WHERE path = CAST('two' AS BLOB)")
    replicating(*members)
    until(lambda: "rows of the index were lost or changed" in beta.logs(), "beta finds out")
    until(lambda: len(index_of(beta, "SELECT 1 FROM rows WHERE path = CAST('two' AS BLOB)")) == 1, "it is there again")
    (alpha.tree / "two").write_text("and goes on")
    for member in members:
        member.wait()
    assert (beta.tree / "two").read_text() == "and goes on"
    assert not beta.volume()["conflicts"]
    assert verify(beta) == verify(alpha) == []


def rewrite(index: sqlite3.Connection, name: str, **changes: object) -> None:
    """Have an index say something else of a path, in its columns, too."""
    path = name.encode()
    ((encoded,),) = index.execute("SELECT row FROM rows WHERE path = ?", (path,))
    row = msgspec.structs.replace(msgspec.msgpack.decode(encoded, type=Row), **changes)
    values = row.pending, packed_shown(row), msgspec.msgpack.encode(row), path
    index.execute("UPDATE rows SET pending = ?, stamp = ?, row = ? WHERE path = ?", values)


def applied_at(member: Member, name: str) -> Applied:
    """Return what a member's index says that is shown at a path."""
    ((encoded,),) = index_of(member, f"SELECT row FROM rows WHERE path = CAST('{name}' AS BLOB)")
    return msgspec.msgpack.decode(encoded, type=Row).applied


def test_what_was_forgotten_to_be_applied_is_applied_without_anybodys_command(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    names = ("changed", "removed", "edited", "fine")
    for name in names:
        (alpha.tree / name).write_text("first")
    settled(*members)
    beta.umount()
    for name in ("changed", "edited"):
        (alpha.tree / name).write_text("second")
    (alpha.tree / "new").write_text("new")
    (alpha.tree / "removed").unlink()
    forgotten = {b"changed", b"edited", b"new", b"removed"}
    pending = "SELECT path FROM rows WHERE pending"
    until(lambda: {path for (path,) in index_of(beta, pending)} >= forgotten, "beta has heard of it")
    with index_apart(beta) as index:
        for path in forgotten:
            rewrite(index, path.decode(), pending=False)
        (beta.underneath / "edited").write_text("edited meanwhile")
    beta.mount()
    replicating(*members)
    until(lambda: (beta.tree / "changed").read_text() == "second", "beta notices what it does not show")
    until(lambda: (beta.tree / "new").exists() and not (beta.tree / "removed").exists(), "and the rest of it")
    for member in members:
        member.wait()
    assert (alpha.tree / "edited").read_text() == (beta.tree / "edited").read_text() == "edited meanwhile"
    lost = [told(member, "history", str(member.tree / "edited"))["versions"] for member in members]
    assert any(version["size"] == len("second") for versions in lost for version in versions), "it is kept"
    assert "/changed did not show what is known" in beta.logs()
    assert any("/changed" in alarm and "/fine" not in alarm for alarm in beta.volume()["alarms"])
    assert not alpha.volume()["alarms"]
    assert verify(beta) == []
    assert not beta.volume()["alarms"]


def test_what_is_applied_by_an_older_version_of_a_row_is_looked_at(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    for name in ("one", "two"):
        (alpha.tree / name).write_text("first")
    settled(*members)
    before = {name: applied_at(beta, name) for name in ("one", "two")}
    for name in before:
        (alpha.tree / name).write_text("the second")
    settled(*members)
    with index_apart(beta) as index:
        for name, applied in before.items():
            rewrite(index, name, applied=applied, pending=False)
        (beta.tree / "two").write_text("written while nobody knew")
    replicating(*members)
    until(lambda: applied_at(beta, "one").observation != before["one"].observation, "beta notices")
    for member in members:
        member.wait()
    assert [(alpha.tree / name).read_text() for name in before] == ["the second", "written while nobody knew"]
    assert [(beta.tree / name).read_text() for name in before] == ["the second", "written while nobody knew"]
    lost = [told(member, "history", str(member.tree / "two"))["versions"] for member in members]
    assert any(version["size"] == len("the second") for versions in lost for version in versions), "it is kept"
    assert verify(beta) == []


class Copy:
    """A copy of a member's state and tree, as a snapshot has it: to be made and put back while nothing of it runs."""

    def __init__(self, member: Member, place: Path) -> None:
        self.member, self.place = member, place
        member.umount()
        member.stop_daemon()
        shutil.copytree(member.home.root, place / "home", symlinks=True)
        subprocess.run(["cp", "-a", f"{member.tree}/.", str(place / "tree")], check=True)
        self.start()

    def start(self) -> None:
        """Go on."""
        self.member.start_daemon()
        self.member.mount()

    def put_back(self) -> None:
        """Be what was, with nobody being told."""
        self.member.umount()
        self.member.stop_daemon()
        shutil.rmtree(self.member.home.root)
        shutil.copytree(self.place / "home", self.member.home.root, symlinks=True)
        for found in self.member.tree.iterdir():
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        subprocess.run(["cp", "-a", f"{self.place / 'tree'}/.", str(self.member.tree)], check=True)


def test_a_member_restored_without_a_reboot_takes_its_place_again(
    members: tuple[Member, Member], tmp_path: Path
) -> None:
    alpha, beta = members
    for name in ("kept", "removed", "changed"):
        (alpha.tree / name).write_text(f"{name} as it was")
    settled(*members)
    copy = Copy(beta, tmp_path / "copy")
    replicating(*members)
    (beta.tree / "removed").unlink()
    (beta.tree / "changed").write_text("changed in the life that is lost")
    (beta.tree / "made").write_text("made in the life that is lost")
    settled(*members)
    until(lambda: tombstones(alpha) == 0, "alpha forgets what was removed")
    copy.put_back()
    beta.start_daemon()
    until(lambda: beta.peer()["connected"], "beta greets alpha anew")
    beta.mount()
    (beta.tree / "kept").write_text("changed by who was restored")
    replicating(*members)
    until(lambda: not (beta.tree / "removed").exists(), "what was removed goes again")
    for member in members:
        member.wait()
    assert "in quarantine" in beta.logs()
    assert (beta.tree / "changed").read_text() == "changed in the life that is lost"
    assert (beta.tree / "made").read_text() == "made in the life that is lost"
    assert (alpha.tree / "kept").read_text() == "changed by who was restored"
    assert not (alpha.tree / "removed").exists()
    assert differences(str(alpha.tree), str(beta.tree)) == []
    assert told(beta, "history", str(beta.tree / "removed"))["versions"], "what goes with a quarantine is kept"
    assert beta.volume()["state"] == "replicating"


def test_two_hosts_with_one_identity_find_that_out_in_turn_and_lose_nothing(
    members: tuple[Member, Member], tmp_path: Path
) -> None:
    alpha, beta = members
    (alpha.tree / "common").write_text("of both")
    settled(*members)
    second = Copy(beta, tmp_path / "second")
    replicating(*members)
    (beta.tree / "by-first").write_text("first")
    settled(*members)
    first = Copy(beta, tmp_path / "first")
    for number, host in enumerate((second, first, second)):
        host.put_back()
        host.start()
        (beta.tree / f"turn{number}").write_text(f"turn {number}")
        replicating(*members)
        until(lambda n=number: (alpha.tree / f"turn{n}").exists(), "what either makes arrives")  # type: ignore[misc]
        assert "in quarantine: alpha has heard from this member what it does not remember" in beta.logs()
        assert differences(str(alpha.tree), str(beta.tree)) == []
    names = sorted(path.name for path in alpha.tree.iterdir())
    assert names == ["by-first", "common", "turn0", "turn1", "turn2"]
    assert (alpha.tree / "by-first").read_text() == "first"


def verify(member: Member, *arguments: str, code: ExitCode = ExitCode.DONE) -> list[Any]:
    """Return what differs, by what `csfs verify` says."""
    told = member.csfs("verify", *arguments, "--json", check=False)
    assert told.returncode == code, told.stdout + told.stderr
    ((volume,)) = json.loads(told.stdout)["volumes"]
    return [
        (Path(one["path"]).name, one["what"], one["repaired"])
        for peer in volume["peers"]
        for one in peer["differences"]
    ]


def rot(member: Member, name: str) -> None:
    """Have the disk return another byte than was written, as a bad disk does: nothing else of the file changes."""
    path = member.underneath / name
    before = path.stat()
    text = path.read_bytes()
    member.umount()
    member.stop_daemon()
    path.write_bytes(b"X" + text[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    stamp = struct.pack(
        "<Qqqq", *(getattr(path.stat(), f) for f in ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"))
    )
    with contextlib.closing(sqlite3.connect(member.home.index(VOLUME))) as index:
        (row,) = index.execute("SELECT row FROM rows WHERE path = ?", (name.encode(),)).fetchone()
        decoded = msgspec.msgpack.decode(row, type=Row)
        found = decoded.applied.observation
        assert found is not None
        shown = msgspec.structs.replace(found, stamp=Stamp(*struct.unpack("<Qqqq", stamp)))
        applied = msgspec.structs.replace(decoded.applied, observation=shown, racy=False)
        row = msgspec.msgpack.encode(msgspec.structs.replace(decoded, applied=applied))
        index.execute("UPDATE rows SET stamp = ?, row = ? WHERE path = ?", (stamp, row, name.encode()))
        index.commit()
    member.start_daemon()
    member.mount()


def test_a_disk_that_returns_other_bytes_is_found_and_mended(members: tuple[Member, Member]) -> None:
    alpha, beta = members
    (alpha.tree / "dir").mkdir()
    for name in ("good", "rotten", "dir/below"):
        (alpha.tree / name).write_text(f"{name} as it was written")
    settled(*members)
    assert verify(alpha) == verify(beta) == []
    rot(beta, "rotten")
    replicating(*members)
    assert (beta.tree / "rotten").read_text().startswith("X"), "nobody has noticed"
    assert verify(alpha, code=ExitCode.FOUND) == [("rotten", "damaged there", False)]
    assert verify(beta, str(beta.tree / "dir")) == []
    assert verify(beta, str(beta.tree / "rotten"), "--peer", "alpha", code=ExitCode.FOUND) == [
        ("rotten", "damaged here", False)
    ]
    assert verify(beta, "--repair") == [("rotten", "damaged here", True)]
    assert (beta.tree / "rotten").read_text() == "rotten as it was written"
    assert (alpha.tree / "rotten").read_text() == "rotten as it was written"
    assert verify(beta) == []
    kept = told(beta, "history", str(beta.tree / "rotten"))["versions"]
    assert any(version["cause"] == "conflict" for version in kept), "what the disk returned is kept"
    unknown = beta.csfs("verify", "--peer", "gamma", check=False)
    assert (unknown.returncode, "gamma is not among" in unknown.stderr) == (ExitCode.REFUSED, True)
    alpha.stop_daemon()
    alone = beta.csfs("verify", check=False)
    assert alone.returncode == ExitCode.UNREACHABLE, alone.stderr
