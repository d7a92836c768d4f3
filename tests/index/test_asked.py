"""What was asked of many paths together is what each would have been told by itself, whatever was written in between."""

import contextlib
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.objects import Applied, Content, Kind, Observation, Stamp
from csfs.core.paths import RelPath, is_below
from csfs.core.records import ContentEntry, Half, Record
from csfs.core.rows import Row
from csfs.core.versions import Dot, Hlc, Incarnation, Scope
from csfs.index.index import Index
from csfs.index.rows import Rows

PATHS = [RelPath(b"%d" % number) for number in range(120)]
"""More than one query asks about; below the first are others, some of them by names that are no text."""
PATHS += [RelPath(b"%d/%s" % (number, name)) for number in range(3) for name in (b"a", b"\xff", b"\xc3/b")]
PATHS += [RelPath(b"0-"), RelPath(b"00"), RelPath(b"")]

UNFOLLOWED = 3
"""What is put with this value is of no group."""


def row_of(value: int) -> Row:
    """Return a row of a file with one of a few hashes and writes."""
    dot = Dot(Incarnation(1), value + 1)
    shown = Observation(stamp=Stamp(1, 1, 1, 1), kind=Kind.FILE, mode=0, uid=0, gid=0, hash=b"%d" % value)
    entry = ContentEntry(dot, Hlc(1), Content(Kind.FILE, 1, b"%d" % value))
    return Row(
        record=Record(content=Half((entry,), {})),
        applied=Applied(observation=shown),
        scope=Scope(b"scope-01" if value != UNFOLLOWED else b""),
        live=True,
        pending=False,
        write=dot,
    )


def check(rows: Rows, model: dict[RelPath, int]) -> None:
    """Compare every answer with the model."""
    for value in range(4):
        expected = sorted(path for path, at in model.items() if at == value)
        assert sorted(rows.paths_written(Dot(Incarnation(1), value + 1))) == expected
        found = rows.paths_with_hash(b"%d" % value)
        assert set(found) <= set(expected)
        assert bool(found) == bool(expected) or len(expected) > 10, "of many, the first ten may be dirty"
    for path in PATHS:
        below = [at for at in model if at != path and (not path or is_below(at, path))]
        assert rows.has_live_below(path) == any(model[at] != UNFOLLOWED for at in below)
        row = rows.row(path)
        assert (row.write.counter - 1 if row is not None and row.write is not None else None) == model.get(path)


Step = tuple[str, int, int]
STEPS = st.tuples(
    st.sampled_from(["put", "drop", "ask", "fetch", "flush", "commit", "fail", "check"]),
    st.integers(0, len(PATHS) - 1),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=30), st.integers(0, 4))
def test_answers_that_were_asked_for_ahead_are_those_of_the_moment(steps: list[Step], count: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        index = Index(f"{place}/index.db", member="alpha", boot=b"boot", founding=True)
        with index.transaction():
            model = dict.fromkeys(PATHS[: count * 30], 0)
            for path in model:
                index.rows.put(path, row_of(0))
        parts: list[list[Step]] = [[]]
        for step in steps:
            parts[-1].append(step)
            if step[0] in ("commit", "fail"):
                parts.append([])
        for part in parts:
            before = dict(model)
            with contextlib.suppress(ZeroDivisionError), index.transaction():
                for step in part:
                    carry_out(index.rows, model, *step)
                if part and part[-1][0] == "fail":
                    model = before
                    raise ZeroDivisionError
            check(index.rows, model)
        index.close()


def carry_out(rows: Rows, model: dict[RelPath, int], what: str, number: int, value: int) -> None:
    """Do one thing in a transaction."""
    path = PATHS[number]
    match what:
        case "put":
            rows.put(path, row_of(value))
            model[path] = value
        case "drop":
            rows.drop(path)
            model.pop(path, None)
        case "ask":
            rows.ask_ahead(PATHS[: number + 2], [b"%d" % one for one in range(value + 2)])
        case "fetch":
            rows.fetch(PATHS[number:])
        case "flush":
            rows.pending()
        case "check":
            check(rows, model)
