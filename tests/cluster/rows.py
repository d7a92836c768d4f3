"""What programs do for rows of docs/conflicts.md, with real files, and what is to be seen then."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from csfs.store.syscalls import AT_FDCWD, RENAME_EXCHANGE, renameat2

LINES = ["first", "second", "third", "fourth", "last"]
ROOT_USER = "root:x:0:0:root:/root:/bin/sh\n"


class Object(NamedTuple):
    """What is at a path. `first` is the first of its names, if it has several."""

    kind: str
    text: str
    mode: int
    uid: int
    first: str


Shown = dict[str, Object]


def shown_in(directory: Path) -> Shown:
    """Return what a directory shows."""
    found: Shown = {}
    names: dict[int, str] = {}
    for path in sorted(directory.rglob("*")):
        name, status = str(path.relative_to(directory)), path.lstat()
        kind = next((k for k in ("symlink", "dir", "fifo") if getattr(path, f"is_{k}")()), "file")
        text = path.read_text() if kind == "file" else os.readlink(path) if kind == "symlink" else ""
        first = names.setdefault(status.st_ino, name) if kind == "file" and status.st_nlink > 1 else ""
        found[name] = Object(kind, text, status.st_mode & 0o7777, status.st_uid, first)
    return found


def described(shown: Shown) -> str:
    """Return what is at each path in a few words."""
    return ", ".join(
        f"{name}: {one.text or one.kind!r} {one.mode:o} {one.uid} {one.first}" for name, one in shown.items()
    )


def prepare(directory: Path) -> None:
    """Make what was there before both began."""
    for name in ("d", "p", "q"):
        (directory / name).mkdir(parents=True)
    (directory / "f").write_text("f before")
    (directory / "g").write_text("g before, which is longer")
    os.utime(directory / "g", ns=(1, 1))  # the older one
    (directory / "d" / "x").write_text("x before")
    (directory / "k").write_text("k before")
    os.link(directory / "k", directory / "l")
    (directory / "t").write_text("\n".join(LINES))
    (directory / "passwd").write_text(ROOT_USER)


# ------------------------------------------------------------------------------------------------------ what is done


def data_of(side: str, what: str) -> str:
    """Return what a member writes: what a writes is longer."""
    return what + (" by a, at length" if side == "a" else " by b")


Act = Callable[[Path, str], object]


def writes(name: str, what: str = "edit") -> Act:
    return lambda at, side: (at / name).write_text(data_of(side, what))


def removes(name: str) -> Act:
    return lambda at, side: shutil.rmtree(at / name) if (at / name).is_dir() else (at / name).unlink()


def moves(source: str, target: str) -> Act:
    return lambda at, side: (at / source).rename(at / target)


def links(source: str, target: str) -> Act:
    """ln -f."""

    def act(at: Path, side: str) -> None:
        (at / target).unlink(missing_ok=True)
        os.link(at / source, at / target)

    return act


def chmods(name: str) -> Act:
    return lambda at, side: (at / name).chmod(0o740 if side == "a" else 0o604)


def one_by_one(*acts: Act) -> Act:
    def act(at: Path, side: str) -> None:
        for one in acts:
            one(at, side)

    return act


def makes_directory(name: str) -> Act:
    return lambda at, side: (at / name).mkdir()


def makes_with(name: str) -> Act:
    return one_by_one(makes_directory(name), lambda at, side: (at / name / "in").write_text("inside"))


def exchanges(at: Path, side: str) -> None:
    renameat2(AT_FDCWD, os.fsencode(at / "f"), AT_FDCWD, os.fsencode(at / "g"), RENAME_EXCHANGE)


def edits_line(number: int) -> Act:
    def act(at: Path, side: str) -> None:
        lines = list(LINES)
        lines[number] = data_of(side, "line")
        (at / "t").write_text("\n".join(lines))

    return act


def adds_user(number: int | None) -> Act:
    def act(at: Path, side: str) -> None:
        own = number or (1000 if side == "a" else 1001)
        (at / "passwd").write_text(f"{ROOT_USER}{side}:x:{own}:{own}:{data_of(side, 'user')}:/:/bin/sh\n")

    return act


def edits_alike(at: Path, side: str) -> None:
    (at / "f").write_text(f"edit by {side}")
    os.utime(at / "f", ns=(5, 5))


ACTS: dict[str, Act] = {
    "edits f": writes("f"),
    "edits f alike": edits_alike,
    "edits g": writes("g"),
    "edits f and g": one_by_one(writes("f"), lambda at, side: (at / "g").write_text("g edited")),
    "edits d/x": lambda at, side: (at / "d/x").write_text("x edited"),
    "edits k": writes("k"),
    "edits l": writes("l"),
    "writes the same to f": lambda at, side: (at / "f").write_text("the same"),
    "deletes f": removes("f"),
    "deletes g": removes("g"),
    "deletes d": removes("d"),
    "removes k": removes("k"),
    "removes l": removes("l"),
    "replaces l": one_by_one(removes("l"), writes("l", "another")),
    "deletes f and makes it anew": one_by_one(removes("f"), writes("f", "anew")),
    "deletes f and makes the directory f": one_by_one(removes("f"), makes_directory("f")),
    "deletes f and makes the directory f with f/in": one_by_one(removes("f"), makes_with("f")),
    "deletes d and makes the file d": one_by_one(removes("d"), writes("d", "file")),
    "chmods f": chmods("f"),
    "chmods k": chmods("k"),
    "chmods l": chmods("l"),
    "chmods d": lambda at, side: (at / "d").chmod(0o700),
    "chowns f": lambda at, side: os.chown(at / "f", 1000, -1),
    "chowns f to another": lambda at, side: os.chown(at / "f", 1000 if side == "a" else 1001, -1),
    "touches f": lambda at, side: os.utime(at / "f"),
    "makes f setuid": lambda at, side: (at / "f").chmod(0o4755),
    "renames f to g": moves("f", "g"),
    "renames f to h": moves("f", "h"),
    "renames f to i": moves("f", "i"),
    "renames f to d/f": moves("f", "d/f"),
    "renames g to f": moves("g", "f"),
    "renames g to h": moves("g", "h"),
    "renames d to e": moves("d", "e"),
    "renames d to i": moves("d", "i"),
    "renames d/x to x": moves("d/x", "x"),
    "renames p to q/p": moves("p", "q/p"),
    "renames q to p/q": moves("q", "p/q"),
    "exchanges f and g": exchanges,
    "links f to h": links("f", "h"),
    "links f to i": links("f", "i"),
    "links g to h": links("g", "h"),
    "links k to f": links("k", "f"),
    "makes d/new": lambda at, side: (at / "d/new").write_text("new"),
    "makes the file e": writes("e", "file"),
    "makes the directory e with e/in": makes_with("e"),
    "makes the file n": writes("n", "made"),
    "makes the directory n": makes_directory("n"),
    "makes the directory n with n/in": makes_with("n"),
    "makes the symlink n": lambda at, side: (at / "n").symlink_to("f"),
    "makes the symlink n to itself": lambda at, side: (at / "n").symlink_to(side),
    "makes the pipe n": lambda at, side: os.mkfifo(at / "n"),
    "edits the first line of t": edits_line(0),
    "edits the last line of t": edits_line(-1),
    "closes t and edits its first line": one_by_one(lambda at, side: (at / "t").chmod(0o600), edits_line(0)),
    "deletes t": removes("t"),
    "adds a user to passwd": adds_user(None),
    "adds a user of the same number": adds_user(1000),
}

Row = tuple[str, str]
UNSURE: tuple[Row, ...] = (("deletes f and makes it anew", "renames f to h"),)
"""What comes of it depends on whether anybody has looked in between."""

# --------------------------------------------------------------------------------------------------- what is seen then

F, G, X, K = "f before", "g before, which is longer", "x before", "k before"
DIRECTORY = ""
"""What `Object.text` says of one."""
MERGED = "by both"

BOTH: dict[Row, Mapping[str, str | tuple[str, int] | None]] = {
    ("edits f", "chmods f"): {"f": (data_of("a", "edit"), 0o604)},
    ("chmods f", "edits f"): {"f": (data_of("b", "edit"), 0o740)},
    ("chowns f", "edits f"): {"f": data_of("b", "edit")},
    ("deletes f", "deletes f"): {"f": None},
    ("writes the same to f", "writes the same to f"): {"f": "the same"},
    ("renames f to h", "edits f"): {"f": None, "h": data_of("b", "edit")},
    ("edits f", "renames f to h"): {"f": None, "h": data_of("a", "edit")},
    ("renames f to h", "chmods f"): {"f": None, "h": (F, 0o604)},
    ("chmods f", "renames f to h"): {"f": None, "h": (F, 0o740)},
    ("renames f to h", "touches f"): {"f": None, "h": F},
    ("renames f to h", "makes f setuid"): {"f": None, "h": (F, 0o4755)},
    ("renames f to h", "renames f to h"): {"f": None, "h": F},
    ("renames f to h", "renames f to i"): {"f": None, "h": F, "i": F},
    ("renames f to g", "edits f"): {"f": None, "g": data_of("b", "edit")},
    ("renames f to g", "renames g to f"): {"f": G, "g": F},
    ("renames f to g", "renames g to h"): {"f": None, "g": F, "h": G},
    ("exchanges f and g", "edits f"): {"f": G, "g": data_of("b", "edit")},
    ("exchanges f and g", "edits f and g"): {"f": "g edited", "g": data_of("b", "edit")},
    ("exchanges f and g", "exchanges f and g"): {"f": G, "g": F},
    ("exchanges f and g", "renames f to h"): {"f": G, "g": F, "h": F},
    ("exchanges f and g", "chmods f"): {"f": G, "g": (F, 0o604)},
    ("renames p to q/p", "renames q to p/q"): {name: DIRECTORY for name in ("p", "q", "p/q", "q/p")},
    ("renames d to e", "makes d/new"): {"d": DIRECTORY, "d/new": "new", "d/x": None, "e/x": X},
    ("makes d/new", "renames d to e"): {"d": DIRECTORY, "d/new": "new", "d/x": None, "e/x": X},
    ("renames d to e", "edits d/x"): {"d": None, "e/x": "x edited"},
    ("renames d to e", "chmods d"): {"d": None, "e": (DIRECTORY, 0o700), "e/x": X},
    ("renames d to e", "renames d to i"): {"d": None, "e/x": X, "i/x": X},
    ("renames d to e", "renames d/x to x"): {"d": None, "e/x": X, "x": X},
    ("renames d to e", "makes the directory e with e/in"): {"d": None, "e/x": X, "e/in": "inside"},
    ("renames d to e", "deletes d and makes the file d"): {"d": data_of("b", "file"), "e/x": X},
    ("renames f to d/f", "deletes d"): {"f": None, "d/f": F, "d/x": None},
    ("renames f to d/f", "renames d to e"): {"f": None, "d/f": F, "d/x": None, "e/x": X, "e/f": None},
    ("deletes d", "makes d/new"): {"d/new": "new", "d/x": None},
    ("makes d/new", "deletes d"): {"d/new": "new", "d/x": None},
    ("deletes d", "edits d/x"): {"d/x": "x edited"},
    ("deletes d", "renames d/x to x"): {"d": None, "x": X},
    ("deletes d and makes the file d", "edits d/x"): {"d": (DIRECTORY, 0o700), "d/x": "x edited"},
    ("chmods k", "edits l"): {"k": (data_of("b", "edit"), 0o740), "l": (data_of("b", "edit"), 0o740)},
    ("removes l", "chmods k"): {"l": None, "k": (K, 0o604)},
    ("removes k", "removes l"): {"k": None, "l": None},
    ("links f to h", "edits f"): {"f": data_of("b", "edit"), "h": F},
    ("links f to h", "chmods f"): {"f": (F, 0o604), "h": (F, 0o604)},
    ("links f to h", "links f to i"): {"f": F, "h": F, "i": F},
    ("links f to h", "deletes f"): {"f": None, "h": F},
    ("edits the first line of t", "edits the last line of t"): {"t": MERGED},
    ("closes t and edits its first line", "edits the last line of t"): {"t": (MERGED, 0o600)},
    ("adds a user to passwd", "adds a user to passwd"): {"passwd": MERGED},
}
"""What is to be seen where both changes are live; None: nothing."""

ONE_FILE: dict[Row, tuple[str, ...]] = {
    ("chmods k", "edits l"): ("k", "l"),
    ("links f to h", "chmods f"): ("f", "h"),
    ("links f to h", "links f to i"): ("f", "h", "i"),
}
"""What are names of one file then."""

LEFT: dict[Row, tuple[str, ...]] = {
    ("renames g to h", "renames f to h"): ("f", "g"),
    ("renames f to g", "edits g"): ("f",),
}
"""Names that one of both has left, so that nobody shows anything there, whose version of the other name ever is live."""

LIMITED: dict[Row, tuple[str, ...]] = {
    ("chmods f", "chmods f"): ("f",),
    ("chowns f", "chmods f"): ("f",),
    ("chmods k", "chmods l"): ("k", "l"),
    ("deletes f and makes it anew", "chmods f"): ("f",),
}
"""Paths of which group and others may do only what both allow."""

MODES: dict[Row, tuple[str, int]] = {
    ("makes f setuid", "edits f"): ("f", 0o755),
    ("edits f", "makes f setuid"): ("f", 0o755),
    ("closes t and edits its first line", "edits the last line of t"): ("t", 0o600),
}
"""Whoever's bytes are live, they have the mode that one of both has set, without a privilege that was given to others."""

APART: tuple[Row, ...] = (("replaces l", "edits k"),)
"""The edit is live under one name, whoever's version is live under the other."""


def is_as_both_have_it(row: Row, shown: Shown) -> bool:
    """Return whether what is shown is what both changes come to."""
    for name, wanted in BOTH[row].items():
        found = shown.get(name)
        if wanted is None or found is None:
            if found is not wanted:
                return False
            continue
        text, mode = wanted if isinstance(wanted, tuple) else (wanted, found.mode)
        has_text = {"by a", "by b"} <= {found.text[i : i + 4] for i in range(len(found.text))}
        if (not has_text if text is MERGED else found.text != text) or found.mode != mode:
            return False
    names = ONE_FILE.get(row, ())
    return len({shown[name].first for name in names}) <= 1 and all(shown[name].first for name in names)


def wanted_of(row: Row, name: str, before: Mapping[str, Shown]) -> Shown:
    """Return what is shown where the version of `a` or `b` is live; `before` is what each showed before they met."""
    ours, theirs = before[name], before["b" if name == "a" else "a"]
    wanted = {path: found for path, found in ours.items() if path not in LEFT.get(row, ())}
    for path in LIMITED.get(row, ()):
        mode = ours[path].mode & (theirs[path].mode | 0o7700)
        wanted[path] = ours[path]._replace(mode=mode)
    if row in MODES:
        path, mode = MODES[row]
        wanted[path] = wanted[path]._replace(mode=mode)
    if row in APART:
        wanted["k"] = wanted["k"]._replace(text=data_of("b", "edit"), first="" if name == "a" else "k")
    return wanted


def is_as_the_table_says(row: Row, outcome: str, shown: list[Shown], before: Mapping[str, Shown]) -> bool:
    """Return whether all three members show what one cell says: a, and b twice."""
    if outcome == "own":
        return shown == [wanted_of(row, name, before) for name in "abb"]
    if any(one != shown[0] for one in shown):
        return False
    if outcome == "both":
        return is_as_both_have_it(row, shown[0])
    return shown[0] == wanted_of(row, outcome, before)
