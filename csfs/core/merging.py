"""Three-way merges of small files against their common ancestor: the files of users and hosts by record, other text by line.

Pure, and the same whichever side is called ours, so that two members that both merge make the same.
"""

import re
from collections.abc import Sequence
from typing import Final

from csfs.core import accounts, diffing, keyed
from csfs.core.accounts import Database, is_of_one

MERGED_SIZE_MAX: Final = 131_072
"""Of each version, and of the result: what peers send each other in one piece."""

DATABASES: Final[dict[bytes, Database]] = {
    b"passwd": accounts.PASSWD,
    b"group": accounts.GROUP,
    b"shadow": accounts.SHADOW,
    b"gshadow": accounts.GSHADOW,
    b"subuid": accounts.SUBORDINATE,
    b"subgid": accounts.SUBORDINATE,
}
"""By a path's last name."""
HOSTS: Final = b"hosts"

_host = re.compile(rb"[ \t]*([0-9A-Fa-f.:]+(?:%[^ \t#]+)?)[ \t]+([^ \t#][^#]*)(?:#.*)?", re.DOTALL)
_remark = re.compile(rb"[ \t\r]*(?:#.*)?", re.DOTALL)


def merged(name: bytes, base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Return what both sides made of `base`; None if they contradict each other, or this is no text or too large.

    `name` is the last one of the path: it says what the file may be, its content whether it is that.
    """
    versions = base, ours, theirs
    if any(b"\0" in data or len(data) > MERGED_SIZE_MAX for data in versions):
        return None
    database = DATABASES.get(name)
    if database is not None and accounts.parsed(database, base) is not None:
        result = _accounts_merged(database, base, ours, theirs)
    elif name == HOSTS and _hosts_parsed(base) is not None:
        result = _hosts_merged(base, ours, theirs)
    else:
        result = _text_merged(base, ours, theirs)
    return result if result is not None and len(result) <= MERGED_SIZE_MAX else None


def _one_sided(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Return the only change there is, None if there are two."""
    if ours in (base, theirs):
        return theirs
    return ours if theirs == base else None


def _text_merged(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    one = _one_sided(base, ours, theirs)
    if one is not None:
        return one
    lines = diffing.lines_merged(base.splitlines(True), ours.splitlines(True), theirs.splitlines(True))
    return b"".join(lines) if lines is not None else None


def _accounts_merged(database: Database, base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    before, our, their = (accounts.parsed(database, data) for data in (base, ours, theirs))
    if before is None or our is None or their is None:
        return None
    one = _one_sided(base, ours, theirs)
    if one is not None:
        return one
    table = accounts.tables_merged(database, before, our, their)
    return accounts.rendered(table) if table is not None else None


# ------------------------------------------------------------------------------------------------------------------ hosts


def _hosts_parsed(data: bytes) -> list[tuple[bytes, tuple[bytes, ...]]] | None:
    """Return the addresses with their names, in order; None if this is no hosts(5)."""
    found = []
    for line in data.split(b"\n"):
        if _remark.fullmatch(line):
            continue
        record = _host.fullmatch(line)
        if record is None:
            return None
        found.append((record[1].lower(), tuple(record[2].split())))
    return found


def _hosts_merged(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Merge by line, and by address where both sides changed the same part: additions at one place do not contradict each other."""
    if _hosts_parsed(ours) is None or _hosts_parsed(theirs) is None:
        return None
    one = _one_sided(base, ours, theirs)
    if one is not None:
        return one
    lines = diffing.lines_merged(_lines(base), _lines(ours), _lines(theirs), _part_merged)
    if lines is None:
        return None
    result = b"".join(line + b"\n" for line in lines)
    return result if _is_consistent(result, ours, theirs) else None


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def _part_merged(base: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes]) -> list[bytes] | None:
    items = keyed.items_merged(_by_address(base), _by_address(ours), _by_address(theirs), _contradiction)
    return list(items.values()) if items is not None else None


def _contradiction(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    return None


def _by_address(lines: Sequence[bytes]) -> dict[tuple[bytes, int], bytes]:
    """Return the lines of a part: a remark is its own key, and what comes again is told apart by how often it came."""
    items: dict[tuple[bytes, int], bytes] = {}
    for line in lines:
        record = _host.fullmatch(line)
        key, turn = record[1].lower() if record is not None else b"#" + line, 0
        while (key, turn) in items:
            turn += 1
        items[key, turn] = line
    return items


def _is_consistent(result: bytes, ours: bytes, theirs: bytes) -> bool:
    """Return whether no address has names of both sides, and no name has addresses of one family of both."""
    together, our, their = (_meanings(data) for data in (result, ours, theirs))
    return all(is_of_one(found, key, our, their) for key, found in together.items())


def _meanings(data: bytes) -> dict[bytes, frozenset[bytes]]:
    """Return what each address and each name stands for; a file that is no hosts(5) says nothing."""
    meanings: dict[bytes, frozenset[bytes]] = {}
    for address, names in _hosts_parsed(data) or ():
        family = b"6" if b":" in address else b"4"
        for key, value in [(address, b" ".join(names)), *((family + b" " + name.lower(), address) for name in names)]:
            meanings[key] = meanings.get(key, frozenset()) | {value}
    return meanings
