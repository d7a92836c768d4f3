"""Paths at which a power cut may have left what no version stands for, until it is mended or a person takes it as it is (R24)."""

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.index.database import Database
from csfs.index.rows import Rows


class SuspectPaths:
    """A table in the index file."""

    def __init__(self, database: Database, rows: Rows) -> None:
        self._database = database
        self._rows = rows
        ((self._any,),) = database.execute("SELECT EXISTS (SELECT 1 FROM suspects)")
        # Rolled back or not, to look once more than needed does no harm.

    def put(self, path: RelPath, found_ns: int) -> None:
        """Remember that what is at a path is not to be believed."""
        self._any = True
        self._database.write("INSERT OR IGNORE INTO suspects VALUES (?, ?)", (path, found_ns))

    def drop(self, path: RelPath) -> None:
        """What is at a path is a version of it."""
        if self._any:
            self._database.write("DELETE FROM suspects WHERE path = ?", (path,))

    def __contains__(self, path: RelPath) -> bool:
        if not self._any:
            return False
        query = "SELECT 1 FROM suspects WHERE path = ?"
        return self._database.execute(query, (path,)).fetchone() is not None and self._is_suspect(path)

    def left(self) -> dict[RelPath, int]:
        """Return the paths that are neither mended nor written to since, ascending, and when they were found."""
        if not self._any:
            return {}
        found = self._database.execute("SELECT path, found_ns FROM suspects ORDER BY path").fetchall()
        return {RelPath(path): found_ns for path, found_ns in found if self._is_suspect(RelPath(path))}

    def _is_suspect(self, path: RelPath) -> bool:
        row = self._rows.row(path)
        if row is None:
            return False
        shown, applied = row.applied.observation, row.applied
        if shown is None:
            return row.pending
        if shown.kind is Kind.DIRECTORY:  # which may live by what is below it alone
            return row.pending and applied.meta_dot is None
        return applied.content_dot is None or (row.pending and applied.meta_dot is None)
