"""The index file: one connection, transactions, and checkpoints that never hold up the caller."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from csfs.errors import CorruptDatabaseError, UnwritableError
from csfs.index import schema, upgrading

log = logging.getLogger(__name__)

CHECKPOINT_PAGES = 4_000
CHECKPOINTS_AT_ONCE_MAX = 8
LOG_PAGES_MAX = 32_000
"""A longer log is moved by whoever writes: where the disk is slow, a thread never catches up with somebody who goes on writing."""
LOG_SIZE_MAX = 64 << 20
"""What a log that was larger is cut to once it is begun anew."""
KEYS_MAX = 50
"""Of so many keys one query asks at a time."""
_KEYS = f"(VALUES {', '.join(['(?)'] * KEYS_MAX)})"
INDEX_CURE = (
    "move it away, then csfs config reload: this member then begins as one that joins, what differs here is kept aside, and what it "
    "alone has stays here alone"
)
UNWRITABLE = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError)
"""The disk's trouble, not the file's."""


class Database:
    """One SQLite file in WAL mode. Used from one thread, but for `checkpoint`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._open_transaction = False
        self._begun = False
        self._before_commit: list[Callable[[], None]] = []
        self._after_rollback: list[Callable[[], None]] = []
        self.wal_pages = 0
        self._moved_at = 0
        """How long the log was when a writer last moved what it could of it."""
        self.trouble = ""
        """Why the last transaction could not be written, empty if it could."""
        self.written: Callable[[], None] = _nobody
        """Called after each transaction that has written something, or could not."""
        with self.opening():
            self.connection = apsw.Connection(path)
            os.chmod(path, 0o600)
            self._prepare()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Read, in this block, what must be readable for the file to be of any use.

        Raises:
            CorruptDatabaseError: it is not.
            UnwritableError: the disk is full, or refuses.
        """
        try:
            yield
        except UNWRITABLE as error:
            raise self._unwritable(error) from error
        except apsw.Error as error:
            raise CorruptDatabaseError(f"{self.path}: not an index csfs can read ({error}); {INDEX_CURE}") from error

    def _prepare(self) -> None:
        self.connection.set_busy_timeout(5_000)
        self.execute("PRAGMA journal_mode = WAL")
        # A commit survives kill -9; what a power cut may take, a new boot's new incarnation never misuses (R8).
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute("PRAGMA wal_autocheckpoint = 0")
        self.execute("PRAGMA cache_size = -4096")
        self.execute(f"PRAGMA journal_size_limit = {LOG_SIZE_MAX}")
        (version,) = self.execute("PRAGMA user_version").fetchone()
        if version > schema.VERSION:
            raise CorruptDatabaseError(
                f"{self.path}: index of format {version}, this csfs knows {schema.VERSION}; install the newer csfs"
            )
        if version and not schema.UPGRADES.keys() >= set(range(version, schema.VERSION)):
            raise CorruptDatabaseError(
                f"{self.path}: index of format {version}, this csfs knows {schema.VERSION} and cannot bring it forward; {INDEX_CURE}"
            )
        upgrading.teach(self.connection)
        with self.connection:  # a stop leaves the old format or the new one, and nothing in between
            for old in range(version or schema.VERSION, schema.VERSION):
                self.connection.execute(schema.UPGRADES[old])
            self.connection.execute(schema.TABLES)
            self.execute(f"PRAGMA user_version = {schema.VERSION}")
        self.connection.set_wal_hook(self._count_pages)

    def _count_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> Any:
        """Run one statement that reads and return its cursor; columns are what `schema` says they are."""
        return self.connection.execute(statement, values)

    def read_of(self, statement: str, keys: Iterable[bytes]) -> list[tuple[Any, ...]]:
        """Run one statement that reads for a great many keys, in no order; `KEYS` in it stands for a table of some of them.

        That takes a fifth of what it takes to run it for each by itself.
        """
        statement = statement.replace("KEYS", _KEYS)
        left, found = list(keys), list[tuple[Any, ...]]()
        for first in range(0, len(left), KEYS_MAX):
            some = left[first : first + KEYS_MAX]
            # One text for any number of keys: SQLite need not read it again.
            found += self.connection.execute(statement, (*some, *some[-1:] * (KEYS_MAX - len(some))))
        return found

    def write(self, statement: str, values: tuple[object, ...] = ()) -> None:
        """Run one statement that writes, in the open transaction."""
        self._begin()
        self.connection.execute(statement, values)

    def write_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run one statement that writes for every row, in the open transaction."""
        if rows:
            self._begin()
            self.connection.executemany(statement, rows)

    def _begin(self) -> None:
        # Only when there is something to write: many transactions find that nothing has changed.
        assert self._open_transaction, "an index is written in transactions"
        if not self._begun:
            self.connection.execute("BEGIN IMMEDIATE")
            self._begun = True

    def on_transaction_end(self, before_commit: Callable[[], None], after_rollback: Callable[[], None]) -> None:
        """Have unwritten values flushed before each commit, and forgotten after a rollback."""
        self._before_commit.append(before_commit)
        self._after_rollback.append(after_rollback)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes inside stand or fall together; durable against kill -9 on return. Not to be nested.

        Raises:
            UnwritableError: the disk is full, or refuses; nothing has changed.
        """
        assert not self._open_transaction, "index transactions do not nest"
        self._open_transaction = True
        try:
            yield
            for flush in self._before_commit:
                flush()
            if self._begun:
                self.connection.execute("COMMIT")
                self.trouble = ""
                self._bound_log()
        except UNWRITABLE as error:
            self._roll_back()
            raise self._unwritable(error) from error
        except BaseException:
            self._roll_back()
            raise
        finally:
            has_written, self._open_transaction, self._begun = self._begun, False, False
            if has_written or self.trouble:
                self.written()

    def _bound_log(self) -> None:
        """Have a log that is too long moved before anything else is written, so that it never fills the disk it is on.

        What somebody still reads cannot be moved; that is asked again when the log has grown by as much as a checkpoint is worth.
        """
        if self.wal_pages < self._moved_at:
            self._moved_at = 0  # begun anew
        if self.wal_pages > max(LOG_PAGES_MAX, self._moved_at + CHECKPOINT_PAGES):
            self._moved_at = self.wal_pages
            try:
                pages, moved = self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.BusyError:
                self._moved_at = 0  # a thread is at it, and leaves the rest to us
            except apsw.Error as error:
                log.warning("%s: its log stays as it is for now: %s", self.path, error)
            else:
                self.wal_pages = 0 if moved >= pages else self.wal_pages

    def _roll_back(self) -> None:
        if self.connection.in_transaction:  # SQLite has done it already where the disk was full
            self.connection.execute("ROLLBACK")
        for forget in self._after_rollback:
            forget()

    def _unwritable(self, error: apsw.Error) -> UnwritableError:
        self.trouble = f"{self.path} cannot be written: {error}; is there room on its disk?"
        return UnwritableError(self.trouble)

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the log has grown so far that `checkpoint` is due."""
        return self.wal_pages > CHECKPOINT_PAGES

    @property
    def is_log_long(self) -> bool:
        """Whether what can wait should not be written now."""
        return self.wal_pages > LOG_PAGES_MAX

    def checkpoint(self) -> None:
        """Move the log into the file; for a thread: uses a connection of its own, and never blocks a writer.

        The log is begun anew only when all of it was moved, which a writer that goes on keeps from happening: what came
        in the meantime is moved too, which takes less and less, or else is left to the writer.
        """
        other = apsw.Connection(self.path)
        try:
            other.set_busy_timeout(0)
            other.execute("SELECT 1 FROM facts").fetchall()  # before its first read a connection sees no log to move
            for _ in range(CHECKPOINTS_AT_ONCE_MAX):
                pages, moved = other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                if moved >= pages:
                    self.wal_pages = 0  # whoever has written since says otherwise, or will the next time
                if moved >= pages or self.is_log_long:
                    return
        except apsw.Error as error:
            log.warning("%s: its log stays as it is for now: %s", self.path, error)
        finally:
            other.close()

    def sync(self) -> None:
        """Make all transactions so far survive a power cut; for a thread. Checkpoints sync what they move by themselves.

        Raises:
            OSError: the disk refuses.
        """
        for path, flags in (
            (f"{self.path}-wal", os.O_RDONLY),
            (os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY),
        ):
            descriptor = os.open(path, flags | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Close the file; the log goes into it."""
        self.connection.close()


def _nobody() -> None:
    """Nobody listens."""
