"""What both members know of a scene when something does not hold: what fails once in hundreds of runs has to say what differed."""

import os
from collections.abc import Iterator

import apsw

from csfs.core.records import ContentEntry
from csfs.core.rows import Row
from csfs.core.versions import Dot
from csfs.index.encoding import decoded_row
from csfs.index.vectors import WrittenVectors
from csfs.journal.journal import JournalReader
from scripts.crashing.members import Pair
from scripts.support.members import VOLUME, Member

SEQUENCE_MAX = 2**62
ROWS_MAX = 1_000
LOG_LINES_MAX = 30


def of_scene(pair: Pair, name: str) -> str:
    """Return what is known of each path of a scene, what was told of it, and what was logged last."""
    return "\n".join(line for member in pair.members for line in (f"  {member.name}:", *_of_member(member, name)))


def _of_member(member: Member, name: str) -> Iterator[str]:
    scene = os.fsencode(name)
    index = apsw.Connection(str(member.home.index(VOLUME)), flags=apsw.SQLITE_OPEN_READONLY)
    vectors, query = (
        WrittenVectors(index.execute),
        "SELECT path, row FROM rows WHERE path >= ? AND path < ? ORDER BY path",
    )
    for path, encoded in index.execute(query, (scene, scene + b"0")):
        yield f"    {path.decode()}: {_known(decoded_row(encoded, vectors))}"
    index.close()
    reader = JournalReader(str(member.home.journal(VOLUME)))
    for change in reader.rows(0, SEQUENCE_MAX, ROWS_MAX):
        if change.path.startswith(scene):
            target = f" to {change.target.decode()}" if change.target is not None else ""
            yield f"    row {change.sequence} at {change.time_ns / 1e9:.3f}: {change.kind.name} {change.path.decode()}{target}"
    reader.close()
    yield from (f"    {line}" for line in member.logs().splitlines()[-LOG_LINES_MAX:])


def _known(row: Row) -> str:
    entries = "; ".join(map(_entry, row.record.content.entries))
    shown = row.applied.observation.kind.name if row.applied.observation is not None else "nothing"
    return f"{entries}; shows {shown} as {_dot(row.applied.content_dot)}{', pending' * row.pending}"


def _entry(entry: ContentEntry) -> str:
    moves = "".join(f", {_dot(move.object)} went to {move.target.decode()}" for move in entry.moves)
    value = f"{entry.value.kind.name} {entry.value.hash.hex()[:8]}".rstrip()
    at = f"at {entry.hlc / 1e9:.3f}"
    return f"{_dot(entry.dot)} {at} {value} of {_dot(entry.birth)}{', carried' * entry.carried}{moves}"


def _dot(dot: Dot | None) -> str:
    return f"{dot.incarnation % 1000:03}.{dot.counter}" if dot is not None else "none"
