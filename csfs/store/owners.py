"""Names of users and groups for their ids and back, as this host knows them, remembered while its tables stay the same."""

import grp
import os
import pwd
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from csfs.core.treatment import BY_NAME, BY_NUMBER

ID_MAX = 2**32 - 2
"""The largest number that a user or group can have: the one above means nobody to chown(2)."""
_TABLES = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf")
_CHECK_INTERVAL_S = 1.0
_AGE_S_MAX = 60.0
"""A directory service changes without touching any of the tables: nothing is believed longer."""


class Accounts(Protocol):
    """Where names come from. Each answers None for what it does not know."""

    def user_name(self, uid: int) -> str | None: ...

    def group_name(self, gid: int) -> str | None: ...

    def user_id(self, name: str) -> int | None: ...

    def group_id(self, name: str) -> int | None: ...


class HostAccounts:
    """The host's name service. May block on a directory service: for worker threads."""

    def user_name(self, uid: int) -> str | None:
        try:
            return _portable(pwd.getpwuid(uid).pw_name)
        except (KeyError, OverflowError):
            return None

    def group_name(self, gid: int) -> str | None:
        try:
            return _portable(grp.getgrgid(gid).gr_name)
        except (KeyError, OverflowError):
            return None

    def user_id(self, name: str) -> int | None:
        try:
            return pwd.getpwnam(name).pw_uid
        except (KeyError, ValueError):
            return None

    def group_id(self, name: str) -> int | None:
        try:
            return grp.getgrnam(name).gr_gid
        except (KeyError, ValueError):
            return None


class NoAccounts:
    """No names at all: owners are numbers."""

    def user_name(self, uid: int) -> str | None:
        return None

    def group_name(self, gid: int) -> str | None:
        return None

    def user_id(self, name: str) -> int | None:
        return None

    def group_id(self, name: str) -> int | None:
        return None


class FixedAccounts:
    """Accounts from explicit tables of name to id."""

    def __init__(self, users: Mapping[str, int], groups: Mapping[str, int]) -> None:
        self._users, self._groups = dict(users), dict(groups)
        self._user_names = {uid: name for name, uid in users.items()}
        self._group_names = {gid: name for name, gid in groups.items()}

    def user_name(self, uid: int) -> str | None:
        return self._user_names.get(uid)

    def group_name(self, gid: int) -> str | None:
        return self._group_names.get(gid)

    def user_id(self, name: str) -> int | None:
        return self._users.get(name)

    def group_id(self, name: str) -> int | None:
        return self._groups.get(name)


class _Memory:
    """What was looked up since the tables last changed."""

    def __init__(self) -> None:
        self.owner_names: dict[int, str] = {}
        self.group_names: dict[int, str] = {}
        self.owner_ids: dict[str, int | None] = {"": None}
        self.group_ids: dict[str, int | None] = {"": None}


class Owners:
    """Answers from memory. Safe to use from several threads: at worst two look up the same name."""

    def __init__(self, accounts: Accounts | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts or HostAccounts()
        self._is_by_number = isinstance(accounts, NoAccounts)
        self._fixed: tuple[str, str] | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._stamps = _table_stamps()
        self._checked = self._filled = clock()
        self._memory = _Memory()

    def following(self, choice: str) -> "Owners":
        """Return owners as the configuration's `owners` says: `name`, `numeric`, or USER[:GROUP], who is to have everything here."""
        made = Owners(NoAccounts() if choice == BY_NUMBER else self._accounts, self._clock)
        if choice not in (BY_NAME, BY_NUMBER):
            user, _, group = choice.partition(":")
            made._fixed = (user, group)
        return made

    def unknown(self) -> str:
        """Return who is to have everything here and is not known to this host; empty for nobody."""
        user, group = self._fixed or ("", "")
        memory = self._current()
        missing = [user] if user and self._fixed_id(self._user_id, memory, user) is None else []
        missing += [group] if group and self._fixed_id(self._group_id, memory, group) is None else []
        return " and ".join(missing)

    def names(self, uid: int, gid: int) -> tuple[str, str]:
        """Return the names of a user and a group, empty where the host knows none."""
        memory = self._current()
        return self._user_name(memory, uid), self._group_name(memory, gid)

    def user_name(self, uid: int) -> str:
        """Return the name of a user, empty where the host knows none."""
        return self._user_name(self._current(), uid)

    def group_name(self, gid: int) -> str:
        """Return the name of a group, empty where the host knows none."""
        return self._group_name(self._current(), gid)

    def _user_name(self, memory: _Memory, uid: int) -> str:
        name = memory.owner_names.get(uid)
        if name is None:
            name = memory.owner_names[uid] = self._accounts.user_name(uid) or ""
        return name

    def _group_name(self, memory: _Memory, gid: int) -> str:
        name = memory.group_names.get(gid)
        if name is None:
            name = memory.group_names[gid] = self._accounts.group_name(gid) or ""
        return name

    def user_number(self, name: str, number: int | None) -> int | None:
        """Return the local id of a user who has rights, None if nobody here is called so; the number given where all go by numbers."""
        return number if self._is_by_number else self._user_id(self._current(), name)

    def group_number(self, name: str, number: int | None) -> int | None:
        """Return the local id of a group that has rights, as `user_number` does."""
        return number if self._is_by_number else self._group_id(self._current(), name)

    def ids(self, owner: str, uid: int, group: str, gid: int) -> tuple[int, int]:
        """Return the local ids of an owner and a group by name; the numbers given stand in for unknown or empty names."""
        memory = self._current()
        user, fixed_group = self._fixed or ("", "")
        local_uid = self._fixed_id(self._user_id, memory, user) if user else self._user_id(memory, owner)
        local_gid = (
            self._fixed_id(self._group_id, memory, fixed_group) if fixed_group else self._group_id(memory, group)
        )
        return (uid if local_uid is None else local_uid), (gid if local_gid is None else local_gid)

    def _fixed_id(self, look_up: Callable[[_Memory, str], int | None], memory: _Memory, name: str) -> int | None:
        """Return the id of a name or number that this host's administrator has written. To a peer, digits are a name."""
        if not name.isdecimal():
            return look_up(memory, name)
        return int(name) if int(name) <= ID_MAX else None

    def _user_id(self, memory: _Memory, name: str) -> int | None:
        if name not in memory.owner_ids:
            memory.owner_ids[name] = self._accounts.user_id(name)
        return memory.owner_ids[name]

    def _group_id(self, memory: _Memory, name: str) -> int | None:
        if name not in memory.group_ids:
            memory.group_ids[name] = self._accounts.group_id(name)
        return memory.group_ids[name]

    def _current(self) -> _Memory:
        """Return the memory to use for one question: it may be replaced by another thread while it is used."""
        now = self._clock()
        if now - self._checked >= _CHECK_INTERVAL_S:
            with self._lock:
                self._checked = now
                stamps = _table_stamps()
                if stamps != self._stamps or now - self._filled >= _AGE_S_MAX:
                    self._stamps, self._filled, self._memory = stamps, now, _Memory()
        return self._memory


def _table_stamps() -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_table_stamp(path) for path in _TABLES)


def _table_stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns


def _portable(name: str) -> str | None:
    """Return `name` if a message can carry it: one that is not UTF-8 comes with escapes that cannot be encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return None
    return name
