"""The mount's end of the journal: numbers changes, keeps them in memory for a few milliseconds, writes them in batches.

A journal that cannot be written must not fail what programs do, nor may one whose disk hangs hold them up: rows are taken, written in a
thread, and settled. They stay in memory while they fit; when they no longer do, they are dropped, and a row that asks for the whole
volume to be compared takes their place as soon as the journal can be written again.

After an unclean stop the daemon may have heard of rows that never reached the file. Sequences therefore jump ahead by `SKIP` on
opening, so that no number ever means two changes, and a COMPARE row says that something may be missing.
"""

import logging
import os
from collections.abc import Callable

import apsw
import msgspec
from msgspec.structs import force_setattr

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import ROOT
from csfs.errors import CorruptDatabaseError
from csfs.journal import schema

log = logging.getLogger(__name__)

SKIP = 1 << 20
"""More rows than a mount can have told the daemon without writing them (it writes every few milliseconds)."""
IN_MEMORY = ":memory:"
ROWS_BUFFERED_MAX = 50_000
PRUNED_AT_ONCE_MAX = 1_000
"""Rows deleted in one step of the loop: about half a millisecond."""
WAL_PAGES_MAX = 1_000
"""A longer write-ahead log is worth a checkpoint."""

CORRUPT = (apsw.CorruptError, apsw.NotADBError)


class Batch:
    """Rows on their way to the file, and the fact that goes with them."""

    __slots__ = ("changes", "compare")

    def __init__(self, changes: list[Change], compare: int) -> None:
        self.changes = changes
        self.compare = compare


class Journal:
    """The one writer of a journal. Not thread-safe but for `write`, `prune`, `sync_file` and `checkpoint`.

    Those may run in a thread while the owner appends; `write` and `prune` one at a time. `clean`: every change since the daemon's last
    comparison of the whole volume is in rows. `cut`: the boot before this one ended without this journal being closed. `trouble`: why
    rows cannot be written at the moment, empty if they can.
    """

    def __init__(
        self, path: str, clock: Callable[[], int], random: Callable[[int], bytes] = os.urandom, boot: bytes = b""
    ) -> None:
        """Open the journal at `path`, or make one. `clock` gives nanoseconds since 1970, `boot` names the host's present boot.

        Raises:
            CorruptDatabaseError: the file is no journal, or a damaged one.
            apsw.Error: it cannot be opened or written now.
        """
        self.path = path
        self._clock = clock
        self._boot = boot
        self._encode = msgspec.msgpack.Encoder().encode
        self._buffered: list[Change] = []
        self._writing: list[Change] = []
        self._lost = False
        self.trouble = ""
        self._wal_pages = 0
        self._digested = 0
        self._pruned = 0
        try:
            self._connection = schema.configured(apsw.Connection(path))
            self._connection.set_wal_hook(self._wal_grew)
            schema.create(self._connection, random(16))
            self._open()
        except CORRUPT as error:
            raise CorruptDatabaseError(f"journal {path} cannot be read ({error})") from error

    def _open(self) -> None:
        connection = self._connection
        journal_id = schema.fact(connection, "id")
        if not isinstance(journal_id, bytes) or schema.fact(connection, "format") != schema.FORMAT:
            raise CorruptDatabaseError(f"journal {self.path} is of another format")
        self.id = journal_id
        self._last: int = connection.execute("SELECT coalesce(max(sequence), 0) FROM changes").get
        self._first: int | None = connection.execute("SELECT min(sequence) FROM changes").get
        self._compare = int(str(schema.fact(connection, "compare")))
        stopped_clean = schema.fact(connection, "clean") == 1
        self.clean = stopped_clean and self._compare == 0
        if not stopped_clean and schema.fact(connection, "boot") != self._boot:
            self.note_cut()
        self.cut = bool(self._boot) and schema.fact(connection, "cut") == self._boot
        with connection:
            schema.set_fact(connection, "clean", 0)
            schema.set_fact(connection, "boot", self._boot)
        if not stopped_clean:
            self._last += SKIP
            self.ask_for_comparison()
            self.commit()

    def note_cut(self) -> None:
        """The host went down while a mount was there: in this boot, what is on disk may be what a power cut left of it (R24)."""
        self.cut = bool(self._boot)
        with self._connection:
            schema.set_fact(self._connection, "cut", self._boot)

    def _wal_grew(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    @property
    def first(self) -> int:
        """The sequence of the oldest row, in the file or still to be written; one past the last when there is none."""
        if self._first is not None:
            return self._first
        unwritten = self.unwritten
        return unwritten[0].sequence if unwritten else self._last + 1

    @property
    def last(self) -> int:
        """The sequence handed out last, 0 for none."""
        return self._last

    @property
    def is_dirty(self) -> bool:
        """Whether rows wait to be written."""
        return bool(self._buffered or self._writing) or self._lost

    @property
    def unwritten(self) -> list[Change]:
        """The rows up to the last that are not known to be in the file, ascending; none when some were dropped."""
        return [] if self._lost else self._writing + self._buffered

    @property
    def wants_checkpoint(self) -> bool:
        return self._wal_pages > WAL_PAGES_MAX

    def append(self, change: Change) -> Change:
        """Return `change`, given its sequence and, unless it has one, its time. It is written by the next `commit`.

        It must be nobody else's yet: it is changed in place, which costs a fraction of a copy.
        """
        self._last += 1
        force_setattr(change, "sequence", self._last)
        if not change.time_ns:
            force_setattr(change, "time_ns", self._clock())
        if len(self._buffered) + len(self._writing) >= ROWS_BUFFERED_MAX:
            self._buffered.clear()
            self._lost = True
            self.clean = False
        if not self._lost:
            self._buffered.append(change)
        return change

    def ask_for_comparison(self) -> Change:
        """Append a row that asks for the whole volume to be compared."""
        self._lost = False
        self.clean = False
        change = self.append(Change(sequence=0, kind=ChangeKind.COMPARE, path=ROOT))
        self._compare = change.sequence
        return change

    def taken(self) -> Batch | None:
        """Take the rows that wait, to be written; None for none. `settle` has to follow before more are taken."""
        assert not self._writing, "one batch at a time"
        if self._lost:
            self._buffered.clear()
            self.ask_for_comparison()
        if not self._buffered:
            return None
        self._writing, self._buffered = self._buffered, []
        return Batch(self._writing, self._compare)

    def write(self, batch: Batch) -> str:
        """Write a batch in one transaction; return why it could not be done, or an empty text. May run in a thread."""
        try:
            rows = [(change.sequence, self._encode(change)) for change in batch.changes]
            with self._connection as connection:
                connection.executemany("INSERT INTO changes VALUES (?, ?)", rows)
                schema.set_fact(connection, "compare", batch.compare)
        except apsw.Error as error:
            return f"journal {self.path} cannot be written: {error}"
        return ""

    def settle(self, batch: Batch, trouble: str) -> None:
        """Take note of what became of a batch: one that could not be written waits again."""
        if trouble and not self._lost:
            self._buffered = self._writing + self._buffered
        elif not trouble and self._first is None:
            self._first = batch.changes[0].sequence
        self._writing = []
        if self.path == IN_MEMORY:
            return  # whose trouble is that it is there
        if trouble and not self.trouble:
            log.error("%s; changes are kept in memory", trouble)
        elif self.trouble and not trouble:
            log.warning("journal %s can be written again", self.path)
        self.trouble = trouble

    def commit(self) -> bool:
        """Write the rows that wait, here and now. Return whether all that was appended is written now."""
        batch = self.taken()
        if batch is not None:
            self.settle(batch, self.write(batch))
        return not self.is_dirty

    def sync_file(self) -> None:
        """Make all committed rows survive a power cut. May run in a thread.

        Raises:
            OSError: the disk refused.
        """
        if self.path == IN_MEMORY:
            return
        # A fresh descriptor of the write-ahead log alone: SQLite has no lock on that file which closing it could drop.
        descriptor = os.open(self.path + "-wal", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file. For a thread: it has its own connection and never blocks the writer."""
        connection = apsw.Connection(self.path)
        try:
            connection.pragma("synchronous", 1)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            log.warning("journal %s: no checkpoint: %s", self.path, error)
        finally:
            connection.close()

    def digested(self, sequence: int) -> None:
        """Take note that the daemon has taken care of rows up to `sequence`; they may go."""
        self._digested = max(self._digested, min(sequence, self._last))
        if self._compare and self._digested >= self._compare:
            self._compare = 0
            self.clean = not self._lost

    def prune(self) -> bool:
        """Delete some digested rows. Return whether more can go. May run in a thread.

        The last row stays: the next mount learns from it where numbering has to go on.
        """
        digested = self._digested
        if self._pruned >= digested:
            return False
        try:
            with self._connection as connection:
                last = connection.execute("SELECT coalesce(max(sequence), 0) FROM changes").get
                up_to = min(digested, last - 1)
                oldest = "SELECT sequence FROM changes WHERE sequence <= ? ORDER BY sequence LIMIT ?"
                connection.execute(f"DELETE FROM changes WHERE sequence IN ({oldest})", (up_to, PRUNED_AT_ONCE_MAX))
                more = connection.changes() == PRUNED_AT_ONCE_MAX
                schema.set_fact(connection, "compare", self._compare)
            self._first = self._connection.execute("SELECT min(sequence) FROM changes").get
        except apsw.Error as error:
            log.warning("journal %s cannot be pruned now: %s", self.path, error)
            return False
        if not more:
            self._pruned = digested
        return more

    def close(self) -> None:
        """Write what waits and mark the journal clean, if everything could be written."""
        try:
            if not self._writing and self.commit():
                with self._connection as connection:
                    schema.set_fact(connection, "compare", self._compare)
                    schema.set_fact(connection, "clean", 1)
            self._connection.close()
        except apsw.Error as error:
            log.error("journal %s is left unclean: %s", self.path, error)


class JournalReader:
    """The daemon's end of a journal: reads, never writes. One thread at a time."""

    def __init__(self, path: str) -> None:
        """Open the journal at `path`.

        Raises:
            CorruptDatabaseError: there is no readable journal.
        """
        self.path = path
        self._decode = msgspec.msgpack.Decoder(Change).decode
        try:
            self._connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
            self._connection.set_busy_timeout(2_000)
            self.id: bytes = schema.fact(self._connection, "id")  # type: ignore[assignment]
        except apsw.Error as error:
            raise CorruptDatabaseError(
                f"journal {path} cannot be read ({error}); the mount starts a new one"
            ) from error

    def rows(self, after: int, last: int, limit: int) -> list[Change]:
        """Return committed changes with sequences in (`after`, `last`], ascending, at most `limit`.

        Raises:
            CorruptDatabaseError: the file is damaged.
        """
        sql = "SELECT body FROM changes WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
        try:
            return [self._decode(body) for (body,) in self._connection.execute(sql, (after, last, limit))]
        except (*CORRUPT, msgspec.MsgspecError) as error:
            raise CorruptDatabaseError(
                f"journal {self.path} is damaged ({error}); remount to start a new one"
            ) from error

    def close(self) -> None:
        self._connection.close()


def open_or_replace(path: str, clock: Callable[[], int], boot: bytes = b"") -> Journal:
    """Return the journal at `path`; a damaged one is moved aside first, and the new one is not clean.

    Where none can be written now (a full disk), one in memory serves until the next mount: programs come first.
    """
    try:
        return Journal(path, clock, boot=boot)
    except apsw.Error as error:
        trouble = f"journal {path} cannot be opened ({error}); until the volume is mounted anew, changes are noted in memory alone"
        log.error("%s", trouble)
        journal = _asking_for_comparison(Journal(IN_MEMORY, clock, boot=boot))
        journal.trouble = trouble
        return journal
    except CorruptDatabaseError as error:
        aside = f"{path}.damaged-{clock()}"
        log.error("%s; it is now %s, a new one is begun, and the volume compared", error, aside)
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.rename(path + suffix, aside + suffix)
        return _asking_for_comparison(Journal(path, clock, boot=boot))


def _asking_for_comparison(journal: Journal) -> Journal:
    journal.ask_for_comparison()
    journal.note_cut()  # for all that anybody knows
    journal.commit()
    return journal
