"""Names and ids of accounts, remembered no longer than they are true."""

import threading
from pathlib import Path

import pytest

from csfs.store import owners
from csfs.store.owners import FixedAccounts, HostAccounts, Owners


class Counting(FixedAccounts):
    """Counts how often it is asked."""

    asked = 0

    def user_name(self, uid: int) -> str | None:
        self.asked += 1
        return super().user_name(uid)


def test_names_win_over_numbers_and_numbers_stand_in_for_unknown_names() -> None:
    known = Owners(FixedAccounts({"alice": 1001}, {"staff": 2001}))
    assert known.names(1001, 2001) == ("alice", "staff")
    assert known.names(5, 6) == ("", "")
    assert known.ids("alice", 7, "staff", 8) == (1001, 2001)
    assert known.ids("nobody here", 7, "", 8) == (7, 8)


def test_by_number_no_name_is_told_and_none_is_asked() -> None:
    known = Owners(FixedAccounts({"alice": 1001}, {"staff": 2001}))
    assert known.following("name").ids("alice", 7, "staff", 8) == (1001, 2001)
    known = known.following("numeric")
    assert known.names(1001, 2001) == ("", "")
    assert known.ids("alice", 7, "staff", 8) == (7, 8)


def test_one_user_has_everything_that_arrives() -> None:
    host = Owners(FixedAccounts({"www": 33}, {"www": 34}))
    known = host.following("www:www")
    assert known.ids("alice", 7, "staff", 8) == (33, 34)
    assert known.names(33, 34) == ("www", "www")
    known = host.following("www")
    assert known.ids("alice", 7, "staff", 8) == (33, 8)
    known = host.following("65000:65001")
    assert known.ids("alice", 7, "staff", 8) == (65000, 65001)
    assert known.unknown() == ""
    known = host.following("web:staff")
    assert known.unknown() == "web and staff"
    assert known.ids("alice", 7, "root", 8) == (7, 8)


@pytest.mark.parametrize("name", ["0", "65000", "9" * 30])
def test_a_name_of_digits_is_a_name(name: str) -> None:
    host = Owners(FixedAccounts({"www": 33}, {"www": 34}))
    assert host.ids(name, 7, name, 8) == (7, 8)
    known = host.following("65000")
    assert known.ids("alice", 7, name, 8) == (65000, 8)


def test_the_host_knows_root() -> None:
    assert Owners().names(0, 0) == ("root", "root")
    assert Owners().ids("root", 5, "root", 5) == (0, 0)
    assert HostAccounts().user_id("no such user") is None
    assert HostAccounts().user_name(2**31 + 17) is None


def test_an_answer_is_remembered_for_a_minute() -> None:
    now = [0.0]
    accounts = Counting({}, {})
    known = Owners(accounts, lambda: now[0])
    known.names(1, 1)
    now[0] = 59.0
    known.names(1, 1)
    assert accounts.asked == 1
    now[0] = 60.0
    known.names(1, 1)
    assert accounts.asked == 2


def test_changed_tables_are_noticed_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = str(tmp_path / "passwd")
    with open(table, "w") as file:
        file.write("1")
    monkeypatch.setattr(owners, "_TABLES", (table, table + ".missing"))
    now = [0.0]
    accounts = Counting({}, {})
    known = Owners(accounts, lambda: now[0])
    known.names(1, 1)
    with open(table, "w") as file:
        file.write("22")
    now[0] = 0.9
    known.names(1, 1)
    assert accounts.asked == 1
    now[0] = 1.1
    known.names(1, 1)
    assert accounts.asked == 2


def test_threads_get_right_answers_while_memory_is_dropped() -> None:
    ticks = iter(range(10**9))
    known = Owners(FixedAccounts({"alice": 1001}, {"staff": 2001}), lambda: float(next(ticks) * 61))
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(200):
            if known.ids("alice", 7, "staff", 8) != (1001, 2001):
                wrong.append("ids")
            if known.names(1001, 2001) != ("alice", "staff"):
                wrong.append("names")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
