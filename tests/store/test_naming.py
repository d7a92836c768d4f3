"""ACLs on real files at two hosts with other numbers: read with names, set with numbers, and nobody unknown is given a right."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.core.acls import Entry, entries_of
from csfs.core.objects import Kind, Meta, Observation
from csfs.core.paths import RelPath
from csfs.store.dressing import dress
from csfs.store.naming import known, with_names, with_numbers
from csfs.store.owners import FixedAccounts, Owners
from csfs.store.treating import Treated
from csfs.store.tree import Tree

HERE = Owners(FixedAccounts({"alice": 1001, "bob": 1002}, {"staff": 2001}))
THERE = Owners(FixedAccounts({"alice": 3001, "carol": 1002, "bob": 3002}, {"staff": 1}))
WITHOUT_BOB = Owners(FixedAccounts({"alice": 3001, "carol": 1002}, {"staff": 1}))


@pytest.fixture
def acls_of(tmp_path: Path) -> Callable[[Owners], Observation]:
    def look(owners: Owners) -> Observation:
        root = os.open(tmp_path, os.O_DIRECTORY)
        try:
            found = Tree(root, owners).observe(RelPath(b"there" if (tmp_path / "there").exists() else b"here"))
        finally:
            os.close(root)
        assert found is not None
        return found

    return look


def given(path: Path, *entries: str) -> None:
    subprocess.run(["setfacl", "-m", ",".join(entries), path], check=True)


def listed(path: Path) -> list[str]:
    done = subprocess.run(["getfacl", "-ncp", path], check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line]


def dressed(found: Observation, path: Path, owners: Owners) -> None:
    meta = Meta(found.mode, 0, 0, "", "", found.xattrs)
    kind = found.kind
    if kind is Kind.DIRECTORY:
        path.mkdir()
    else:
        path.touch()
    assert dress(str(path), kind, meta, None, Treated(owners)) == ()


def test_rights_go_to_the_same_names_with_other_numbers(
    tmp_path: Path, acls_of: Callable[[Owners], Observation]
) -> None:
    (tmp_path / "here").touch()
    given(tmp_path / "here", "u:1001:r", "u:1002:rw", "g:2001:rx", "u:77:x")
    dressed(acls_of(HERE), tmp_path / "there", THERE)
    assert listed(tmp_path / "there") == [
        "user::rw-", "user:77:--x", "user:3001:r--", "user:3002:rw-", "group::r--", "group:1:r-x", "mask::rwx", "other::r--",
    ]  # fmt: skip
    assert [e.name for e in told(acls_of(THERE))] == ["alice", "bob", "staff"]


def told(found: Observation) -> list[Entry]:
    return [entry for _, value in found.xattrs for entry in entries_of(value) or () if entry.name]


def test_whoever_is_unknown_is_left_out_and_whoever_has_his_number_gets_nothing(
    tmp_path: Path, acls_of: Callable[[Owners], Observation]
) -> None:
    (tmp_path / "here").touch()
    given(tmp_path / "here", "u:1002:rw", "u:1001:r")
    found = acls_of(HERE)
    dressed(found, tmp_path / "there", WITHOUT_BOB)
    there = listed(tmp_path / "there")
    assert there == ["user::rw-", "user:3001:r--", "group::r--", "mask::rw-", "other::r--"]
    xattrs, strangers = with_numbers(found.xattrs, WITHOUT_BOB)
    assert strangers == ("user bob",)
    assert not known(strangers, WITHOUT_BOB)
    assert known(strangers, THERE)
    assert os.getxattr(tmp_path / "there", "system.posix_acl_access") == dict(xattrs)[b"system.posix_acl_access"]


def test_the_only_one_named_is_unknown_and_the_mode_is_as_it_was(
    tmp_path: Path, acls_of: Callable[[Owners], Observation]
) -> None:
    (tmp_path / "here").touch(0o600)
    given(tmp_path / "here", "u:1002:rw")
    found = acls_of(HERE)
    dressed(found, tmp_path / "there", WITHOUT_BOB)
    assert acls_of(WITHOUT_BOB).mode == found.mode
    assert listed(tmp_path / "there") == ["user::rw-", "group::---", "mask::rw-", "other::---"]


def test_default_lists_of_directories_go_by_name_as_well(
    tmp_path: Path, acls_of: Callable[[Owners], Observation]
) -> None:
    (tmp_path / "here").mkdir()
    given(tmp_path / "here", "d:u:1002:rwx", "u:1001:rx")
    dressed(acls_of(HERE), tmp_path / "there", THERE)
    assert "default:user:3002:rwx" in listed(tmp_path / "there")
    assert "user:3001:r-x" in listed(tmp_path / "there")


@pytest.mark.parametrize(
    ("choice", "expected"), [("numeric", "user:1002:rw-"), ("carol", "user:3002:rw-"), ("name", "user:3002:rw-")]
)
def test_where_all_go_by_numbers_rights_do_and_where_one_has_everything_they_go_by_name(
    tmp_path: Path, acls_of: Callable[[Owners], Observation], choice: str, expected: str
) -> None:
    (tmp_path / "here").touch()
    given(tmp_path / "here", "u:1002:rw")
    dressed(acls_of(HERE), tmp_path / "there", THERE.following(choice))
    assert expected in listed(tmp_path / "there")


def test_where_all_go_by_numbers_nobody_is_told_by_name(
    tmp_path: Path, acls_of: Callable[[Owners], Observation]
) -> None:
    (tmp_path / "here").touch()
    given(tmp_path / "here", "u:1002:rw")
    assert told(acls_of(HERE.following("numeric"))) == []


def test_two_names_of_one_number_get_what_both_were_given(
    tmp_path: Path, acls_of: Callable[[Owners], Observation]
) -> None:
    (tmp_path / "here").touch()
    given(tmp_path / "here", "u:1001:rx", "u:1002:rw")
    dressed(acls_of(HERE), tmp_path / "there", Owners(FixedAccounts({"alice": 5, "bob": 5}, {})))
    assert "user:5:r--" in listed(tmp_path / "there")


def test_what_has_no_list_is_as_it_was_and_asks_for_nobody() -> None:
    class Nobody(FixedAccounts):
        def user_name(self, uid: int) -> str | None:
            raise AssertionError("asked")

        user_id = user_name  # type: ignore[assignment]

    owners = Owners(Nobody({}, {}))
    for xattrs in ((), ((b"user.a", b"1"),)):
        assert with_names(xattrs, owners) is xattrs
        assert with_numbers(xattrs, owners) == (xattrs, ())
