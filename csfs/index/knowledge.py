"""What is known of each scope, in memory until the transaction ends; of what has changed then, only that is written."""

from csfs.core.versions import Incarnation, Scope, Vector
from csfs.index.database import Database


class Knowledge:
    """Rows of `knowledge`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[Scope, Vector] = {}
        self._stored: dict[Scope, Vector] = {}
        """What the table says."""
        self._load()
        database.on_transaction_end(self._flush, self._load)

    def _load(self) -> None:
        found: dict[Scope, dict[Incarnation, int]] = {}
        for scope, incarnation, counter in self._database.execute("SELECT scope, incarnation, counter FROM knowledge"):
            found.setdefault(scope, {})[incarnation] = counter
        self._known, self._stored = dict(found), dict(found)

    def _flush(self) -> None:
        for scope, known in self._known.items():
            stored = self._stored.get(scope, {})
            if known is stored:
                continue
            # A member that lost its memory knows less than before.
            lost: list[tuple[object, ...]] = [(scope, life) for life in stored if life not in known]
            self._database.write_many("DELETE FROM knowledge WHERE scope = ? AND incarnation = ?", lost)
            self._database.write_many(
                "INSERT INTO knowledge VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET counter = excluded.counter",
                [(scope, life, counter) for life, counter in known.items() if stored.get(life) != counter],
            )
        self._stored = dict(self._known)

    def of(self, scope: Scope) -> Vector:
        """Return what is known of a scope."""
        return self._known.get(scope, {})

    def set(self, scope: Scope, known: Vector) -> None:
        """Set what is known of a scope."""
        self._known[scope] = known
