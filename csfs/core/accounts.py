"""The files of users and groups, by record: passwd(5), group(5), shadow(5), gshadow(5), subuid(5), subgid(5).

A record changed by both sides is put together field by field, lists of members as sets. What the password tools could not
read is not made: a file that does not parse is no such file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from csfs.core.keyed import items_merged

Key = tuple[bytes, ...]
Fields = tuple[bytes, ...]
Table = dict[Key, Fields]

NUMBER_MAX: Final = 2**32 - 1


@dataclass(frozen=True)
class Database:
    """One kind of file: how many fields a record has, and what they mean; fields count from 0.

    `unique` is a number that two names should not share, and `ranges` says that the numbers in fields 1 and 2, the first
    and how many, must not overlap. `keys` are the fields that name a record. `optional` numbers may be empty.
    """

    count: int
    numbers: tuple[int, ...] = ()
    optional: tuple[int, ...] = ()
    members: tuple[int, ...] = ()
    keys: tuple[int, ...] = (0,)
    unique: int | None = None
    ranges: bool = False


PASSWD: Final = Database(7, numbers=(2, 3), unique=2)
GROUP: Final = Database(4, numbers=(2,), members=(3,), unique=2)
SHADOW: Final = Database(9, optional=(2, 3, 4, 5, 6, 7))
GSHADOW: Final = Database(4, members=(2, 3))
SUBORDINATE: Final = Database(3, numbers=(1, 2), keys=(0, 1), ranges=True)


def parsed(database: Database, data: bytes) -> Table | None:
    """Return the records by key, in order; None if this is not such a file."""
    table: Table = {}
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    for line in lines:
        fields = tuple(line.split(b":"))
        key: Key = tuple(fields[number] for number in database.keys if number < len(fields))
        if fields[0][:1] in (b"+", b"-"):  # NIS, nsswitch.conf(5): any fields may be missing
            key = (line,)
        elif not _is_record(database, fields):
            return None
        if key in table or any(byte < 0x20 or byte == 0x7F for byte in line):
            return None
        table[key] = fields
    return table


def tables_merged(database: Database, base: Table, ours: Table, theirs: Table) -> Table | None:
    """Return what both sides made of `base`, None where they contradict each other."""
    merged = items_merged(base, ours, theirs, lambda *fields: _fields_merged(database, *fields))
    if merged is None:
        return None
    if database.unique is not None:
        sharing = [_names_by(table, database.unique) for table in (merged, ours, theirs)]
        if not all(is_of_one(names, number, *sharing[1:]) for number, names in sharing[0].items()):
            return None
    if database.ranges and not _overlaps(merged) <= _overlaps(ours) | _overlaps(theirs):
        return None
    return merged


def rendered(table: Table) -> bytes:
    """Return the file."""
    return b"".join(b":".join(fields) + b"\n" for fields in table.values())


def is_of_one(
    found: frozenset[bytes],
    key: bytes,
    ours: Mapping[bytes, frozenset[bytes]],
    theirs: Mapping[bytes, frozenset[bytes]],
) -> bool:
    """Return whether what shares a key does so on one side already: the other one did not give it to something else."""
    return found <= ours.get(key, frozenset()) or found <= theirs.get(key, frozenset())


def _is_record(database: Database, fields: Fields) -> bool:
    if len(fields) != database.count or not fields[0] or any(byte in b" \t" for byte in fields[0]):
        return False
    numbers = [fields[number] for number in database.numbers]
    numbers += [fields[number] for number in database.optional if fields[number] not in (b"", b"-1")]
    return all(text.isdigit() and len(text) <= 10 and int(text) <= NUMBER_MAX for text in numbers)


def _fields_merged(database: Database, base: Fields, ours: Fields, theirs: Fields) -> Fields | None:
    if not len(base) == len(ours) == len(theirs):
        return None
    merged = []
    for number, (before, our, their) in enumerate(zip(base, ours, theirs, strict=True)):
        if our == their or their == before:
            merged.append(our)
        elif our == before:
            merged.append(their)
        elif number in database.members:
            merged.append(_members_merged(before, our, their))
        else:
            return None
    return tuple(merged)


def _members_merged(base: bytes, ours: bytes, theirs: bytes) -> bytes:
    """Return the members of both, without those that one of them took out."""
    before, our, their = (dict.fromkeys(name for name in text.split(b",") if name) for text in (base, ours, theirs))
    left = [name for name in before if name in our and name in their]
    return b",".join([*left, *sorted((our.keys() | their.keys()) - before.keys())])


def _names_by(table: Table, number: int) -> dict[bytes, frozenset[bytes]]:
    """Return the names that have each number."""
    names: dict[bytes, frozenset[bytes]] = {}
    for fields in table.values():
        if len(fields) > number and fields[0][:1] not in (b"+", b"-"):
            value = str(int(fields[number])).encode()
            names[value] = names.get(value, frozenset()) | {fields[0]}
    return names


def _overlaps(table: Table) -> set[frozenset[Fields]]:
    """Return the pairs of ranges that have numbers in common."""
    pairs: set[frozenset[Fields]] = set()
    running: list[tuple[int, Fields]] = []
    for first, end, fields in sorted(_ranges(table.values())):
        running = [(other_end, other) for other_end, other in running if other_end > first]
        pairs.update(frozenset((fields, other)) for _, other in running)
        running.append((end, fields))
    return pairs


def _ranges(records: Iterable[Fields]) -> Iterable[tuple[int, int, Fields]]:
    for fields in records:
        if len(fields) == SUBORDINATE.count and fields[0][:1] not in (b"+", b"-"):
            yield int(fields[1]), int(fields[1]) + int(fields[2]), fields
