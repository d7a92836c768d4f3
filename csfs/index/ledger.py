"""What the daemon's workers remember beside records: cursors, kept versions, how much is digested."""

import enum
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from csfs.core.moves import WholeMove
from csfs.core.objects import Applied
from csfs.core.paths import RelPath
from csfs.core.rows import Plan
from csfs.core.tables import BLOCK_SIZE, PAGE_HASHES, ZERO_PAGE_HASH
from csfs.core.versions import EMPTY, Incarnation, Scope
from csfs.index.asked import below
from csfs.index.database import Database
from csfs.index.encoding import decoded_plans, encoded_plans
from csfs.index.facts import Facts
from csfs.index.vectors import Vectors

_TAKEN = f"""min(size, coalesce((
    SELECT sum(count) * {BLOCK_SIZE * PAGE_HASHES} FROM tables WHERE tables.hash = kept.hash AND page <> x'{ZERO_PAGE_HASH.hex()}'
), size)) + stored"""
"""What a kept version takes on the disk at most: its large holes take nothing."""

_decode_applied = msgspec.msgpack.Decoder(Applied).decode


class Cause(enum.StrEnum):
    """Why a version is no longer live. The words are in every index: never given another meaning."""

    UNKNOWN = ""
    REPLACED = "replaced"
    REMOVED = "removed"
    CONFLICT = "conflict"
    """It lost one, or was never known to anybody else: it was here before the member joined, or where it only receives."""
    RESOLVED = "resolved"
    RESTORED = "restored"
    WRITTEN = "written"
    """Somebody who had it open has written to it after it was displaced."""
    STORED = "stored"
    """Its author's program waited until it was stored here, and it could not be shown yet, or lost a conflict."""
    FOUND = "found"
    """A crash left it in the stage or in the kept store; where it was live is not known."""


class KeptVersion(NamedTuple):
    """One displaced object in the kept store.

    `size` is what it takes there as a whole: nothing for what was not there, for a version that differs in its attributes alone, where
    a program here has written over it, which others may have kept, and where only the blocks that were overwritten in place are there.
    `member` is the one whose change displaced it. `stored` is what those blocks take.
    """

    name: bytes
    path: RelPath
    kept_ns: int
    size: int
    hash: bytes
    loser: bool
    applied: Applied
    cause: Cause = Cause.UNKNOWN
    member: str = ""
    stored: int = 0

    @property
    def id(self) -> str:
        """What a person calls it."""
        return hashlib.sha256(self.name).hexdigest()[:8]

    @property
    def is_absence(self) -> bool:
        """Whether nothing was there."""
        return self.applied.observation is None and not self.is_lost

    @property
    def is_lost(self) -> bool:
        """Whether nobody knows where it was live: a crash left it."""
        return self.cause is Cause.FOUND


class Ledger:
    """Tables beside the rows, in the same file and the same transactions."""

    def __init__(self, database: Database, facts: Facts, vectors: Vectors) -> None:
        self._database = database
        self._facts = facts
        self._vectors = vectors
        self.kept_added = 0
        """How many versions were kept since the start."""
        ((count,),) = database.execute("SELECT count(*) FROM kept")
        self.kept_count = int(count)
        self._added: list[KeptVersion] = []
        """Kept versions that are not in the table yet."""
        self._greeted, self._greeted_before = set[str](), set[str]()
        """Peers that were told where to go on; those that were told so before cursors were forgotten, and perhaps still do."""
        self._intents = self._read_intents()
        database.on_transaction_end(self._flush, self._forget)

    # ------------------------------------------------------------------------------------------------- who and how far

    @property
    def index_id(self) -> bytes:
        """The random name of this index; positions count in it."""
        found = self._facts.value("index_id")
        assert found is not None
        return found

    @property
    def volume_identity(self) -> bytes | None:
        """What the root underneath must carry as its identity; None until the first mount."""
        return self._facts.value("volume_identity")

    def set_volume_identity(self, identity: bytes) -> None:
        """Bind the index to one root."""
        self._facts.set_value("volume_identity", identity)

    @property
    def scopes(self) -> list[Scope]:
        """Return the scopes that the rows were last read in."""
        found = self._facts.value("scopes")
        return msgspec.msgpack.decode(found, type=list[Scope]) if found is not None else []

    def set_scopes(self, scopes: list[Scope]) -> None:
        """Record the scopes that the rows are read in from now on, though they are not sorted into them yet."""
        self._facts.set_value("scopes", msgspec.msgpack.encode(scopes))
        self.set_sorted(False)

    @property
    def is_sorted(self) -> bool:
        """Whether all rows are in the table as they are read."""
        return self._facts.value("unsorted") != b"1"

    def set_sorted(self, is_sorted: bool) -> None:
        """Record whether all rows are in the table as they are read."""
        self._facts.set_value("unsorted", b"0" if is_sorted else b"1")

    @property
    def pulling(self) -> bool:
        """Whether this member first takes what the others have (R14)."""
        return self._facts.value("pulling") == b"1"

    def set_pulling(self, pulling: bool) -> None:
        """Say whether this member first takes what the others have."""
        self._facts.set_value("pulling", b"1" if pulling else b"0")

    def digested(self, journal: bytes) -> int:
        """Return the sequence up to which rows of that journal are taken care of."""
        return self._facts.number("digested") if self._facts.value("journal") == journal else 0

    def set_digested(self, journal: bytes, sequence: int) -> None:
        """Record how far that journal is digested."""
        self._facts.set_value("journal", journal)
        self._facts.set_number("digested", sequence)

    @property
    def compared(self) -> bytes:
        """What the last comparison of the whole tree holds for: which life of the mount, and which flags are kept the same."""
        return self._facts.value("compared") or b""

    def set_compared(self, comparable: bytes) -> None:
        """Record that the whole tree was compared, and what that holds for; nothing: it is to be compared."""
        self._facts.set_value("compared", comparable)

    @property
    def whole(self) -> bytes:
        """In which boot of the host the tree was last compared as a whole; empty if it never was."""
        return self._facts.value("whole") or b""

    def set_whole(self, boot: bytes) -> None:
        """Record that nothing is left to be found of what happened before that boot."""
        self._facts.set_value("whole", boot)

    def authors(self) -> dict[Incarnation, str]:
        """Return the member of every incarnation heard of."""
        return dict(self._database.execute("SELECT incarnation, member FROM incarnations").fetchall())

    def add_authors(self, authors: dict[int, str]) -> None:
        """Remember whose incarnations these are; the first word stands."""
        self._database.write_many("INSERT OR IGNORE INTO incarnations VALUES (?, ?)", list(authors.items()))

    def cursor(self, peer: str) -> tuple[bytes, int]:
        """Return (the peer's index, the position in it up to which everything it sent is stored)."""
        found = self._database.execute("SELECT index_id, position FROM cursors WHERE peer = ?", (peer,)).fetchone()
        return (found[0], found[1]) if found else (b"", 0)

    def cursor_to_tell(self, peer: str) -> tuple[bytes, int]:
        """Return the cursor, from which the peer goes on at this greeting."""
        self._greeted.add(peer)
        self._greeted_before.discard(peer)
        return self.cursor(peer)

    def set_cursor(self, peer: str, index_id: bytes, position: int) -> None:
        """Record how much of what the peer sends is stored; not of one that goes on from a cursor that was forgotten since."""
        if peer in self._greeted_before:
            return
        self._database.write(
            "INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
            "SET index_id = excluded.index_id, position = excluded.position",
            (peer, index_id, position),
        )

    def forget_cursors(self) -> None:
        """Have every peer tell from its beginning, at the next greeting, what is not known here, whatever it tells before that."""
        self._greeted_before |= self._greeted
        self._database.write("DELETE FROM cursors", ())

    # -------------------------------------------------------------------------------------------------- kept versions

    def add_kept(self, version: KeptVersion) -> None:
        """Remember a displaced object."""
        self.kept_added += 1
        self.kept_count += 1
        self._added.append(version)

    def _flush(self) -> None:
        if self._added:
            rows: list[tuple[object, ...]] = []
            for one in self._added:
                applied = msgspec.structs.replace(one.applied, content_seen=EMPTY, meta_seen=EMPTY)
                rows.append((*one[:6], msgspec.msgpack.encode(applied), one.cause.value, one.member, one.stored))
            self._database.write_many("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._added.clear()

    def _forget(self) -> None:
        self._added.clear()
        self._intents = self._read_intents()

    def kept(self, path: RelPath | None = None) -> list[KeptVersion]:
        """Return kept versions, the newest first; of one path, or all."""
        where, values = ("path = ?", (path,)) if path is not None else ("1", ())
        return self._kept(f"{where} ORDER BY kept_ns DESC", values)

    def kept_below(self, directory: RelPath, limit: int) -> list[KeptVersion]:
        """Return the newest kept versions of `directory` and everything below it, the newest first."""
        return self._kept(f"{_AT_OR_BELOW} ORDER BY kept_ns DESC LIMIT ?", (*_at_or_below(directory), limit))

    def kept_since(self, directory: RelPath, since_ns: int) -> list[KeptVersion]:
        """Return, for `directory` and every path below it, the first version that was displaced after `since_ns`."""
        first = "ORDER BY kept_ns, name) AS turn FROM kept"
        query = (
            f"name IN (SELECT name FROM (SELECT name, row_number() OVER (PARTITION BY path {first} "
            f"WHERE {_AT_OR_BELOW} AND kept_ns > ?) WHERE turn = 1) ORDER BY path"
        )
        return self._kept(query, (*_at_or_below(directory), since_ns))

    def _kept(self, condition: str, values: tuple[object, ...]) -> list[KeptVersion]:
        self._flush()
        columns = "name, path, kept_ns, size, hash, loser, applied, cause, member, stored"
        found = self._database.execute(f"SELECT {columns} FROM kept WHERE {condition}", values)
        kept = []
        for name, at, kept_ns, size, digest, loser, encoded, cause, member, stored in found:
            applied = _decode_applied(encoded)
            kept.append(
                KeptVersion(name, at, kept_ns, size, digest, bool(loser), applied, Cause(cause), member, stored)
            )
        return kept

    def kept_with_hash(self, content_hash: bytes) -> list[tuple[bytes, RelPath]]:
        """Return kept files with this content: names in the kept store, and where they were live."""
        self._flush()
        return list(self._database.execute("SELECT name, path FROM kept WHERE hash = ? AND size > 0", (content_hash,)))

    def surplus(self, *, count_max: int, bytes_max: int, before_ns: int, rows_max: int) -> dict[bytes, bytes]:
        """Return names and hashes of kept versions that retention lets go, losers of conflicts (`old_losers`) not among them.

        More than `count_max` of one path, with an object or without one, older than `before_ns`, or, the oldest first, what is
        over `bytes_max` or `rows_max`.
        """
        self._flush()
        query = f"""
            SELECT name, hash FROM (
                SELECT name, hash, kept_ns,
                    row_number() OVER (PARTITION BY path, size > 0 ORDER BY kept_ns DESC) AS place,
                    row_number() OVER (ORDER BY kept_ns DESC) AS number,
                    sum({_TAKEN}) OVER (ORDER BY kept_ns DESC ROWS UNBOUNDED PRECEDING) AS together
                FROM kept WHERE NOT loser)
            WHERE place > ? OR kept_ns < ? OR together > ? OR number > ?"""
        values = count_max, before_ns, bytes_max, rows_max
        return dict(self._database.execute(query, values))

    def old_losers(self, before_ns: int) -> list[tuple[bytes, RelPath, bytes]]:
        """Return names, paths and hashes of losers of conflicts that were kept before a time; some may not be settled yet."""
        self._flush()
        query = "SELECT name, path, hash FROM kept WHERE loser AND kept_ns < ?"
        return list(self._database.execute(query, (before_ns,)))

    def doubled(self) -> dict[bytes, bytes]:
        """Return kept objects, by name, that have the content of a later one of the same path, whose name is the value; no losers.

        Whichever rule of retention lets the later one go has let the earlier one go before.
        """
        self._flush()
        window = "OVER (PARTITION BY path, hash ORDER BY kept_ns DESC, name DESC)"
        query = (
            f"SELECT name, first_value(name) {window} AS last FROM kept WHERE size > 0 AND hash <> x'' AND NOT loser"
        )
        return dict(self._database.execute(f"SELECT name, last FROM ({query}) WHERE name <> last"))

    def is_kept(self, name: bytes) -> bool:
        """Return whether a version of that name in the kept store is known."""
        self._flush()
        return self._database.execute("SELECT 1 FROM kept WHERE name = ?", (name,)).fetchone() is not None

    def kept_bytes(self) -> int:
        """Return how many bytes the kept versions have that retention may let go."""
        self._flush()
        ((together,),) = self._database.execute(f"SELECT coalesce(sum({_TAKEN}), 0) FROM kept WHERE NOT loser")
        return int(together)

    def drop_kept(self, name: bytes) -> None:
        """Forget a kept version."""
        self._flush()
        self.kept_count -= 1
        self._database.write("DELETE FROM kept WHERE name = ?", (name,))

    def drop_object(self, name: bytes) -> None:
        """A kept version has no object of its own any more: its content is elsewhere."""
        self._flush()
        self._database.write("UPDATE kept SET size = 0 WHERE name = ?", (name,))

    # ------------------------------------------------------------------------------------------------ held and intents

    def hold(self, paths: list[RelPath]) -> None:
        """Remember paths that stay on this member alone."""
        self._database.write_many("INSERT OR IGNORE INTO held VALUES (?)", [(path,) for path in paths])

    def held(self) -> list[RelPath]:
        """Return the paths that stay on this member alone."""
        return [path for (path,) in self._database.execute("SELECT path FROM held ORDER BY path")]

    def add_intents(self, plans: list[Plan]) -> None:
        """Remember what is about to be done (R20): what became of it is found by looking if nobody is left to say."""
        self._intents.update((plan.path, plan) for plan in plans)
        self._write_intents()

    def drop_intents(self, paths: list[RelPath]) -> None:
        """Forget intents that were carried out or given up."""
        count = len(self._intents)
        for path in paths:
            self._intents.pop(path, None)
        if len(self._intents) < count:
            self._write_intents()

    def intents(self) -> list[Plan]:
        """Return the intents of which nobody has recorded what became."""
        return list(self._intents.values())

    def _write_intents(self) -> None:
        if self._intents:
            plans = encoded_plans(self._intents.values(), self._vectors)
            self._database.write("INSERT OR REPLACE INTO intents VALUES (1, ?)", (plans,))
        else:
            self._database.write("DELETE FROM intents")

    def _read_intents(self) -> dict[RelPath, Plan]:
        found = self._database.execute("SELECT plans FROM intents").fetchone()
        plans = decoded_plans(found[0], self._vectors) if found is not None else []
        return {plan.path: plan for plan in plans}

    @property
    def moving(self) -> tuple[Scope, WholeMove, bool] | None:
        """A directory that is about to be renamed as a peer has moved its own, or was, and nobody recorded it (R20).

        With it the scope in which that was agreed, and whether the group merged then.
        """
        found = self._facts.value("moving")
        return msgspec.msgpack.decode(found, type=tuple[Scope, WholeMove, bool]) if found else None

    def set_moving(self, moving: tuple[Scope, WholeMove, bool] | None) -> None:
        """Remember what is about to be renamed; None: what became of it is recorded."""
        self._facts.set_value("moving", msgspec.msgpack.encode(moving) if moving is not None else b"")

    def disturb(self, directories: Iterable[RelPath]) -> None:
        """Remember directories in which commits are about to change names: the time that they show then is nobody's wish."""
        self._database.write_many("INSERT OR IGNORE INTO disturbed VALUES (?)", [(path,) for path in directories])

    def calm(self, directories: Iterable[RelPath]) -> None:
        """What disturbed directories show now is taken into account."""
        self._database.write_many("DELETE FROM disturbed WHERE path = ?", [(path,) for path in directories])

    def disturbed(self) -> list[RelPath]:
        """Return the directories that a stop left disturbed."""
        return [path for (path,) in self._database.execute("SELECT path FROM disturbed")]


_AT_OR_BELOW = "(path = ? OR (path > ? AND path < ?))"


def _at_or_below(directory: RelPath) -> tuple[bytes, bytes, bytes]:
    lower, upper = below(directory)
    return directory, lower, upper
