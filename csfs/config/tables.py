"""Reads one TOML table key by key and collects every complaint, instead of stopping at the first."""

import difflib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Complaints:
    """What is wrong with one file: key path, what is wrong with it, and the cure."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: list[str] = []

    def add(self, key_path: str, complaint: str) -> None:
        """Note that something is wrong at `key_path`; empty means the whole file."""
        self.lines.append(f"{key_path}: {complaint}" if key_path else complaint)


def written(key: str) -> str:
    """Return a key as TOML writes it: bare where it can be."""
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


class Table:
    """One table. Whatever is not asked for by the time `finish` is called is an unknown key."""

    def __init__(self, data: dict[str, Any], key_path: str, complaints: Complaints) -> None:
        self._data = data
        self.key_path = key_path
        self._complaints = complaints
        self._asked: list[str] = []

    def complain(self, key: str, complaint: str) -> None:
        self._complaints.add(self.path_of(key), complaint)

    def path_of(self, key: str) -> str:
        return ".".join(part for part in (self.key_path, written(key) if key else "") if part)

    def string(self, key: str, default: str | None = None, wanted: str = "a string") -> str:
        """Return a string; without a default it must be there. `wanted` is what a complaint calls it."""
        value = self._value(key, str, wanted, default)
        if value is None:
            return ""
        return value

    def integer(self, key: str, default: int, least: int) -> int:
        value = self._value(key, int, "a whole number", default)
        if value is None or isinstance(value, bool) or value < least:
            self.complain(key, f"must be a whole number, {least} or more")
            return default
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self._value(key, bool, "true or false", default)
        return default if value is None else value

    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return a list of strings, not empty; one string alone is taken for a list of one."""
        self._asked.append(key)
        value = self._data.get(key)
        if value is None:
            return default
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(element, str) for element in value):
            self.complain(key, 'must be a list of strings, such as ["one", "two"]')
            return default
        if not value:
            self.complain(key, "is empty; leave the key out for the usual")
        doubles = sorted({element for element in value if value.count(element) > 1})
        if doubles:
            self.complain(key, f"names {', '.join(doubles)} twice; once is enough")
        return tuple(value)

    def arguments(self, key: str) -> tuple[str, ...]:
        """Return a command with its arguments, which must be there; the same argument may come twice."""
        value = self._value(key, list, 'a list of strings, such as ["command", "argument"]', None)
        if value is None:
            return ()
        if not value or not all(isinstance(part, str) and part and "\0" not in part for part in value):
            self.complain(key, 'must be a list of strings, none of them empty, such as ["command", "argument"]')
            return ()
        return tuple(value)

    def parsed(self, key: str, default: tuple[str, ...], parse: Callable[[str], T]) -> tuple[T, ...]:
        """Return a list of strings, each put through `parse`; its ValueErrors become complaints."""
        results = []
        for number, text in enumerate(self.strings(key, default)):
            try:
                results.append(parse(text))
            except ValueError as error:
                self._complaints.add(f"{self.path_of(key)}[{number}]", str(error))
        return tuple(results)

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        value = self.string(key, default)
        if value != default and value not in choices:
            self.complain(
                key, f'"{value}" is not known{_did_you_mean(value, choices)}; there are: {", ".join(choices)}'
            )
            return default
        return value

    def table(self, key: str) -> "Table":
        """Return the table at `key`; none there is an empty one."""
        value = self._value(key, dict, f"a table: [{self.path_of(key)}]", {})
        return Table(value or {}, self.path_of(key), self._complaints)

    def tables(self, key: str) -> list["Table"]:
        """Return the tables of an array of tables, in order."""
        value = self._value(key, list, f"tables: [[{self.path_of(key)}]]", []) or []
        if not all(isinstance(element, dict) for element in value):
            self.complain(key, f"must be tables: [[{self.path_of(key)}]]")
            return []
        path = self.path_of(key)
        return [Table(data, f"{path}[{number}]", self._complaints) for number, data in enumerate(value)]

    def entries(self) -> Iterator[tuple[str, "Table"]]:
        """Yield every key and its table: the keys are names that the administrator chose."""
        for key in self._data:
            yield key, self.table(key)

    def is_table(self, key: str) -> bool:
        return isinstance(self._data.get(key), dict)

    def is_string(self, key: str, text: str) -> bool:
        """Return whether just this text is there, which is then known."""
        if self._data.get(key) != text:
            return False
        self._asked.append(key)
        return True

    def names(self) -> list[str]:
        return list(self._data)

    def finish(self) -> None:
        """Complain of every key that nobody asked for."""
        for key in self._data:
            if key not in self._asked:
                self.complain(key, f"unknown key{_did_you_mean(key, self._asked)}")

    def _value(self, key: str, kind: type[T], wanted: str, default: T | None) -> T | None:
        self._asked.append(key)
        if key not in self._data:
            if default is None:
                self.complain(key, f"is missing; it must be {wanted}")
            return default
        value = self._data[key]
        if not isinstance(value, kind):
            self.complain(key, f"must be {wanted}")
            return default
        return value


def _did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]}?" if close else ""
