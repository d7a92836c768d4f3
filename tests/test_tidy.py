"""Habits that a reader relies on, checked; each message says what to do instead."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
# Written so that this file does not find itself.
MARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
ASSERTING = re.compile(r"(assert|check|expect|raises|wait|until|linked|fail|verify)", re.IGNORECASE)

sources = sorted(TOP.glob("csfs/**/*.py"))
tests = sorted(TOP.glob("tests/**/*.py"))
scripts = sorted(TOP.glob("scripts/**/*.py"))
texts = [
    *sources,
    *tests,
    *(
        path
        for folder in ("scripts", "etc", ".ci", "docs")
        for path in sorted((TOP / folder).glob("**/*"))
        if path.is_file()
    ),
]


def name_of(path: Path) -> str:
    return str(path.relative_to(TOP))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), name_of(path))


def functions_in(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def asserts_something(function: ast.AST) -> bool:
    """Return whether a test asserts by itself, says which errors may come, or calls something whose name says that it does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert | ast.Try):
            return True
        if isinstance(node, ast.Attribute | ast.Name):
            word = node.attr if isinstance(node, ast.Attribute) else node.id
            if ASSERTING.search(word):
                return True
    return False


@pytest.mark.parametrize("path", [*sources, *tests, *scripts], ids=name_of)
def test_a_file_is_short_enough_to_be_read_at_once(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= FILE_LINES_MAX, (
        f"{name_of(path)}: {lines} lines, limit {FILE_LINES_MAX}; give one of its jobs a file of its own"
    )


@pytest.mark.parametrize("path", [*sources, *tests, *scripts], ids=name_of)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{name_of(path)}:{function.lineno} {function.name}: {lines} lines, limit {FUNCTION_LINES_MAX}; "
        "keep the branches, move each one's work to a function with a name"
        for function in functions_in(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, "\n".join(long)


def test_nothing_is_left_to_be_done_later() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:80]}: do it, or take the mark out and say in docs/ what is not promised"
        for path in texts
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if MARKS.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", tests, ids=name_of)
def test_no_test_sleeps(path: Path) -> None:
    sleeps = [
        f"{name_of(path)}:{node.lineno}: time.sleep: wait for the condition itself, with a limit, or use the mock clock"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr == "sleep"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    ]
    assert not sleeps, "\n".join(sleeps)


@pytest.mark.parametrize("path", [path for path in tests if path.name.startswith("test_")], ids=name_of)
def test_every_test_asserts_something(path: Path) -> None:
    empty = [
        f"{name_of(path)}:{function.lineno} {function.name}: assert what it is there to show"
        for function in functions_in(path)
        if function.name.startswith("test_") and not asserts_something(function)
    ]
    assert not empty, "\n".join(empty)


def test_scripts_can_be_run() -> None:
    runnable = [path for path in (TOP / "scripts").iterdir() if path.is_file() and path.read_text().startswith("#!")]
    assert runnable
    for script in runnable:
        assert script.stat().st_mode & 0o111, f"{name_of(script)}: chmod +x"
