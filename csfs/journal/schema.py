"""The tables of a journal, and how a connection to one is set up.

`changes` has one row per change; `body` is the `Change` as msgpack (an array, so that fields may be added at the end). `facts` are
single values by name:

* `id`: 16 random bytes drawn when the file was made: a journal that was replaced is not taken for the one before.
* `clean`: 1 while closed by a mount that wrote all it knew, else 0. It is 0 while a mount has it open, so that a crash leaves 0.
* `compare`: the sequence of the last row that asks for the whole volume to be compared, 0 for none.
* `boot`: the boot in which a mount opened it last. `cut`: the boot that found it open from an earlier one, missing for none.
* `format`: the version of this description.
"""

import apsw

FORMAT = 1

CREATE = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL);
"""


def configured(connection: apsw.Connection) -> apsw.Connection:
    """Return the writer's `connection`, set up so that no commit waits for a disk and none starts a checkpoint.

    A commit reaches the file in the kernel's hands at once (it survives a kill), the disk when the journal is synced.
    """
    connection.pragma("journal_mode", "WAL")
    connection.pragma("synchronous", 1)
    connection.pragma("wal_autocheckpoint", 0)
    return connection


def create(connection: apsw.Connection, journal_id: bytes) -> None:
    """Make the tables where they are missing; `journal_id` counts only for a new journal."""
    with connection:
        connection.execute(CREATE)
        facts = [("id", journal_id), ("clean", 1), ("compare", 0), ("format", FORMAT)]
        connection.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts)


def fact(connection: apsw.Connection, name: str) -> object:
    """Return the fact called `name`, None where there is none."""
    return connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).get


def set_fact(connection: apsw.Connection, name: str, value: int | bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
