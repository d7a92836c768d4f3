"""The index file's tables; this module alone explains columns and sentinels."""

VERSION = 15

UPGRADES: dict[int, str] = {
    6: "ALTER TABLE rows ADD COLUMN awaited INTEGER NOT NULL DEFAULT 0; DROP INDEX rows_pending",
    7: "ALTER TABLE tables ADD COLUMN count INTEGER NOT NULL DEFAULT 1",
    8: "ALTER TABLE kept ADD COLUMN stored INTEGER NOT NULL DEFAULT 0",
    9: "DELETE FROM facts WHERE key = 'moving'",  # a rename that a kill cut short is found by comparing
    10: "DROP INDEX rows_living_on; DROP TABLE intents",  # so are commits
    11: "ALTER TABLE rows ADD COLUMN strangers TEXT",
    # Entries of metas say whether they were decided on.
    12: "UPDATE rows SET digest = digest_of(path, row, digest) WHERE digest IS NOT NULL; DELETE FROM digests; "
    "INSERT INTO digests SELECT scope, digests_together(digest) FROM rows WHERE digest IS NOT NULL GROUP BY scope",
    13: "",  # a table more
    14: "",  # rows that are put from now on refer to `vectors`
}
"""By format, what makes the next one of it; functions are those of `upgrading`. What is older is refused: large contents had other
hashes, or rows did not say which object is where, nor which names belong to one inode."""

TABLES = """
CREATE TABLE IF NOT EXISTS facts (
    key   TEXT PRIMARY KEY,    -- see Index and Ledger: index_id, boot, incarnation, counter, position, clock, digested …
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS rows (
    path     BLOB PRIMARY KEY,
    position INTEGER NOT NULL, -- greatest of the three positions in row; 0: never sent (nothing known)
    live     INTEGER NOT NULL, -- 1: the winner is something other than absent
    pending  INTEGER NOT NULL, -- 1: what is known is not yet what is shown
    contested INTEGER NOT NULL, -- 1: a half has several entries
    stamp    BLOB,             -- stamp of what is shown, 4 x int64 little-endian, then `r` if racy; NULL: nothing is shown
    hash     BLOB,             -- root hash of the regular file shown; NULL otherwise
    write    BLOB,             -- row.write: incarnation and counter, 2 x int64 big-endian (so that new ones follow each other)
    inode    BLOB,             -- inode number of what is shown if it has several names, int64 big-endian
    row      BLOB NOT NULL,    -- core.rows.Row as `encoding` has it: msgpack, large vectors as what differs from one of `vectors`
    scope    BLOB NOT NULL DEFAULT x'', -- row.scope
    digest   BLOB,             -- what the path adds to the set hash of its scope; NULL: nothing is live
    doubtful INTEGER NOT NULL DEFAULT 0, -- 1: something is to be minted anew
    awaited  INTEGER NOT NULL DEFAULT 0, -- bytes of the content that is to be shown and is not; 0 if nothing is pending
    strangers TEXT             -- whom ACLs leave out here, where nobody is called so: `user bob`, NUL between; NULL: nobody
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rows_by_position ON rows (position) WHERE position > 0;
CREATE INDEX IF NOT EXISTS rows_pending ON rows (path, awaited) WHERE pending;
CREATE INDEX IF NOT EXISTS rows_contested ON rows (path) WHERE contested;
CREATE INDEX IF NOT EXISTS rows_living_on ON rows (path) WHERE stamp IS NOT NULL AND NOT live AND NOT pending;
CREATE INDEX IF NOT EXISTS rows_removed ON rows (path) WHERE NOT live;
CREATE INDEX IF NOT EXISTS rows_strangers ON rows (strangers, path) WHERE strangers IS NOT NULL;
CREATE INDEX IF NOT EXISTS rows_doubtful ON rows (path) WHERE doubtful;
CREATE INDEX IF NOT EXISTS rows_by_hash ON rows (hash) WHERE hash IS NOT NULL;
CREATE INDEX IF NOT EXISTS rows_by_write ON rows (write) WHERE write IS NOT NULL;
CREATE INDEX IF NOT EXISTS rows_by_inode ON rows (inode) WHERE inode IS NOT NULL;

CREATE TABLE IF NOT EXISTS totals (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    live INTEGER NOT NULL      -- how many rows are live: to count a million of them takes a second
);
CREATE TRIGGER IF NOT EXISTS row_made AFTER INSERT ON rows WHEN new.live
    BEGIN UPDATE totals SET live = live + 1; END;
CREATE TRIGGER IF NOT EXISTS row_dropped AFTER DELETE ON rows WHEN old.live
    BEGIN UPDATE totals SET live = live - 1; END;
CREATE TRIGGER IF NOT EXISTS row_changed AFTER UPDATE OF live ON rows WHEN new.live <> old.live
    BEGIN UPDATE totals SET live = live + new.live - old.live; END;
INSERT INTO totals SELECT 1, (SELECT count(*) FROM rows WHERE live) WHERE NOT EXISTS (SELECT 1 FROM totals);

CREATE TABLE IF NOT EXISTS vectors (
    number INTEGER PRIMARY KEY, -- never used for another one
    digest BLOB NOT NULL,      -- of `vector`: whatever refers to one that a bad disk changed is lost
    vector BLOB NOT NULL       -- msgpack of dict[Incarnation, int]; never changed, never dropped
);

CREATE TABLE IF NOT EXISTS knowledge (
    scope       BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    counter     INTEGER NOT NULL, -- every dot of the incarnation up to this one is in rows, or was superseded there
    PRIMARY KEY (scope, incarnation)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS digests (
    scope  BLOB PRIMARY KEY,
    digest BLOB NOT NULL       -- set hash of the records of the scope: the digests of its rows together
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS peers (
    member    TEXT PRIMARY KEY,
    standings BLOB NOT NULL,   -- msgpack of dict[Scope, core.rows.Standing]: how far it was when it last said so
    tokens    BLOB NOT NULL    -- msgpack of core.tokens.Tokens
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS incarnations (
    incarnation INTEGER PRIMARY KEY,
    member      TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS cursors (
    peer     TEXT PRIMARY KEY,
    index_id BLOB NOT NULL,    -- the peer's index that the position counts in
    position INTEGER NOT NULL  -- everything the peer sent up to here is stored
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tables (
    hash   BLOB NOT NULL,      -- root hash of a content of more than one block
    number INTEGER NOT NULL,   -- from 0 on
    page   BLOB NOT NULL,      -- hash of that page of its table
    count  INTEGER NOT NULL DEFAULT 1, -- how many pages from that one on are the same: those of a hole
    PRIMARY KEY (hash, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tables_by_page ON tables (page);
CREATE TABLE IF NOT EXISTS pages (
    hash   BLOB PRIMARY KEY,   -- contents that differ in some blocks have most pages in common
    hashes BLOB NOT NULL       -- hashes of consecutive blocks, 32 bytes each
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS kept (
    name    BLOB PRIMARY KEY,  -- name in the kept store; nothing is there of a version that was nothing, or attributes alone
    path    BLOB NOT NULL,     -- where it was live
    kept_ns INTEGER NOT NULL,
    size    INTEGER NOT NULL,
    hash    BLOB NOT NULL,     -- root hash; empty if it is not a regular file
    loser   INTEGER NOT NULL,  -- 1: lost a conflict: retention takes it by its age alone, once that is settled
    applied BLOB NOT NULL,     -- msgpack of core.objects.Applied: what was shown, without vectors
    cause   TEXT NOT NULL DEFAULT '', -- one of ledger.Cause; empty: not noted
    member  TEXT NOT NULL DEFAULT '', -- whose change displaced it; empty: nobody's, or not noted
    stored  INTEGER NOT NULL DEFAULT 0 -- bytes of the blocks in the kept store, where these alone are there
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kept_by_path ON kept (path, kept_ns);
CREATE INDEX IF NOT EXISTS kept_by_hash ON kept (hash);
CREATE INDEX IF NOT EXISTS kept_by_time ON kept (kept_ns);

CREATE TABLE IF NOT EXISTS bases (
    id   INTEGER PRIMARY KEY,  -- ascending with age
    path BLOB NOT NULL,
    hash BLOB NOT NULL,
    data BLOB NOT NULL,        -- a small content that the path shows or came from; empty: it cannot be merged
    UNIQUE (path, hash)
);
CREATE INDEX IF NOT EXISTS bases_by_hash ON bases (hash);

CREATE TABLE IF NOT EXISTS held (
    path BLOB PRIMARY KEY      -- found here alone when this member joined, and to stay here alone
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS intents (
    id    INTEGER PRIMARY KEY CHECK (id = 1), -- no row: no commit is under way, and each one's outcome is recorded
    plans BLOB NOT NULL        -- list[core.rows.Plan] as `encoding` has it: a row for each plan costs more than all that it says
);

CREATE TABLE IF NOT EXISTS braked (
    path        BLOB PRIMARY KEY,  -- a loss at this path is not carried out before a person lets it through
    member      TEXT NOT NULL,     -- whose change it is
    removed     INTEGER NOT NULL,  -- 1: nothing comes in its place
    incarnation INTEGER NOT NULL,  -- the dot of what is live instead
    counter     INTEGER NOT NULL,
    since_ns    INTEGER NOT NULL,
    approved    INTEGER NOT NULL   -- 1: a person has let it through
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS braked_by_member ON braked (member);

CREATE TABLE IF NOT EXISTS due (
    action BLOB NOT NULL,      -- names a command of the configuration
    path   BLOB NOT NULL,      -- it is to be run for this
    number INTEGER NOT NULL,   -- ascending with time; 0: it was, and is not to be run again while the path stays as it is
    begun  INTEGER NOT NULL,   -- how often it was begun
    PRIMARY KEY (action, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due_by_number ON due (number) WHERE number > 0;

CREATE TABLE IF NOT EXISTS disturbed (
    path BLOB PRIMARY KEY      -- a directory whose time commits here have changed, or are about to, and nobody has looked since
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS suspects (
    path     BLOB PRIMARY KEY,     -- a power cut may have left what is here; looked at again before it is told of
    found_ns INTEGER NOT NULL
) WITHOUT ROWID;
"""
