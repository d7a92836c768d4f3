"""Single values of the index, in memory until the transaction ends."""

from csfs.index.database import Database


class Facts:
    """Values by key: bytes, or numbers, which are decimal text in the table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dirty: set[str] = set()
        self._values: dict[str, bytes | int] = {}
        self._load()
        database.on_transaction_end(self._flush, self._forget)

    def _load(self) -> None:
        self._values = dict(self._database.execute("SELECT key, value FROM facts").fetchall())

    def _flush(self) -> None:
        rows: list[tuple[object, ...]] = [(key, self.value(key)) for key in self._dirty]
        self._database.write_many(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", rows
        )
        self._dirty.clear()

    def _forget(self) -> None:
        self._dirty.clear()
        self._load()

    def value(self, key: str) -> bytes | None:
        """Return the value of `key`."""
        value = self._values.get(key)
        return b"%d" % value if isinstance(value, int) else value

    def set_value(self, key: str, value: bytes) -> None:
        """Set the value of `key`."""
        if self.value(key) != value:
            self._values[key] = value
            self._dirty.add(key)

    def number(self, key: str) -> int:
        """Return the number at `key`, 0 if there is none."""
        value = self._values.get(key, 0)
        if isinstance(value, int):
            return value
        # Some are counted up several times for each path: they are a number from now on.
        self._values[key] = number = int(value)
        return number

    def set_number(self, key: str, number: int) -> None:
        """Set the number at `key`."""
        if self._values.get(key) != number:
            self._values[key] = number
            self._dirty.add(key)

    def increment(self, key: str) -> int:
        """Return the number at `key` plus one, having stored it."""
        number = self.number(key) + 1
        self._values[key] = number
        self._dirty.add(key)
        return number
