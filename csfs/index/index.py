"""One volume's index on one member: rows for the engine, the ledger and block tables for the workers, in one file."""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, closing

import apsw

from csfs.core.versions import Incarnation
from csfs.index.bases import Bases
from csfs.index.braked import BrakedPaths
from csfs.index.database import Database
from csfs.index.due import DuePaths
from csfs.index.facts import Facts
from csfs.index.ledger import Ledger
from csfs.index.rows import Rows
from csfs.index.shown import Shown
from csfs.index.strangers import Strangers
from csfs.index.suspects import SuspectPaths
from csfs.index.tables import Tables
from csfs.index.vectors import Vectors


class Index:
    """Opens or creates the file. A new index has to pull first, unless `founding`: the volume begins with its tree.

    Every start on a new boot is a new incarnation of the member (R8) and another index to the peers: what a power cut or a
    restored backup took from the index can then never be minted again with another meaning, nor be passed over.
    """

    def __init__(self, path: str, *, member: str, boot: bytes, founding: bool = False) -> None:
        self._database = Database(path)
        self._facts = Facts(self._database)
        vectors = Vectors(self._database)
        self.rows = Rows(self._database, self._facts, vectors)
        self.ledger = Ledger(self._database, self._facts, vectors)
        self.braked = BrakedPaths(self._database)
        self.tables = Tables(self._database)
        self.due = DuePaths(self._database)
        self.bases = Bases(self._database)
        self.suspects = SuspectPaths(self._database, self.rows)
        self.strangers = Strangers(self._database)
        with self.opening(), self.transaction():
            if self._facts.value("index_id") is None:
                self.ledger.set_pulling(not founding)
                self._facts.set_value("token_key", secrets.token_bytes(32))
            if self._facts.value("boot") != boot:
                self._facts.set_value("boot", boot)
                self.renew(member)
            self.ledger.add_authors({self.incarnation: member})

    def renew(self, member: str) -> None:
        """Become another incarnation, and another index to the peers: on a new boot, or restored or cloned (R8)."""
        # Positions that were lost are handed out again: no cursor of a peer may count on them.
        self.begin_anew()
        self._facts.set_number("incarnation", secrets.randbits(62) | 1)
        self.rows.start_incarnation()
        self.ledger.add_authors({self.incarnation: member})

    def relearn(self, member: str) -> None:
        """Be renewed, and told by each peer from its beginning what it knows: what is in doubt was told before, or never (R8)."""
        self.renew(member)
        self.ledger.forget_cursors()

    def begin_anew(self) -> None:
        """Be another index to the peers, who then hear of every row once more."""
        self._facts.set_value("index_id", secrets.token_bytes(16))

    @property
    def token_key(self) -> bytes:
        """What makes this index's tokens its own."""
        found = self._facts.value("token_key")
        assert found is not None
        return found

    @property
    def incarnation(self) -> Incarnation:
        """Our present incarnation."""
        return Incarnation(self._facts.number("incarnation"))

    def shown(self) -> closing[Shown]:
        """Give a reader of what is shown, for threads, to be closed by the caller."""
        return closing(Shown(self._database.path))

    def opening(self) -> AbstractContextManager[None]:
        """Have what cannot be read in the block be a `CorruptDatabaseError`, which says what to do."""
        return self._database.opening()

    def transaction(self) -> AbstractContextManager[None]:
        """Make all changes inside stand or fall together; they survive kill -9 on return."""
        return self._database.transaction()

    @property
    def change_count(self) -> int:
        """How many rows of any table were written since the index was opened."""
        return self._database.connection.total_changes()

    @property
    def cached_size(self) -> int:
        """How many bytes are at hand, about, that `shrink` lets go of."""
        pages_size, _ = self._database.connection.status(apsw.SQLITE_DBSTATUS_CACHE_USED)
        return self.rows.cached_size + pages_size

    def shrink(self) -> None:
        """Hold as little memory as possible; not in a transaction."""
        self.rows.forget_cached()
        self._database.execute("PRAGMA shrink_memory")

    def on_written(self, told: Callable[[], None]) -> None:
        """Have `told` called after each transaction that has written something, or could not."""
        self._database.written = told

    @property
    def trouble(self) -> str:
        """Why the index cannot be written at the moment; empty if it can."""
        return self._database.trouble

    def try_again(self) -> None:
        """Find out whether the index can be written again.

        Raises:
            UnwritableError: it cannot.
        """
        with self.transaction():
            self._database.write("INSERT OR REPLACE INTO facts VALUES ('tried', randomblob(8))")

    @property
    def wants_checkpoint(self) -> bool:
        """Whether `checkpoint` is due."""
        return self._database.wants_checkpoint

    @property
    def is_log_long(self) -> bool:
        """Whether what can wait should not be written before a `checkpoint`."""
        return self._database.is_log_long

    def checkpoint(self) -> None:
        """Move SQLite's log into the file; for a thread."""
        self._database.checkpoint()

    def sync(self) -> None:
        """Make all transactions so far survive a power cut; for a thread."""
        self._database.sync()

    def close(self) -> None:
        """Close the file."""
        self._database.close()
