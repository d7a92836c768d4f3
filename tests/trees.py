"""Comparing two trees, to the last attribute, by means of its own: nothing of what it checks is used to check it."""

import os
import stat
from collections.abc import Iterator

FIELDS = frozenset({"kind", "content", "target", "mode", "owner", "mtime", "xattrs", "rdev", "links"})
"""What can be ignored; `links` is which names are one inode."""
_HOST_XATTRS = ("security.selinux", "security.evm", "security.ima")


def differences(a: str, b: str, *, ignore: set[str] | None = None) -> list[str]:
    """Return one line for each difference between two objects of any kind, with all that is below them; [] if equal.

    `ignore` has names of `FIELDS`, or top-level names with a leading slash (`/.csfs` is always left out).
    """
    ignored = (ignore or set()) | {"/.csfs"}
    unknown = {name for name in ignored if not name.startswith("/")} - FIELDS
    if unknown:
        raise ValueError(f"no such fields: {unknown}")
    ours, theirs = dict(_walk(os.fsencode(a), ignored)), dict(_walk(os.fsencode(b), ignored))
    found = [f"{_name(path)}: only in {a}" for path in sorted(ours.keys() - theirs.keys())]
    found += [f"{_name(path)}: only in {b}" for path in sorted(theirs.keys() - ours.keys())]
    for path in sorted(ours.keys() & theirs.keys()):
        found += _object_differences(path, os.fsencode(a), os.fsencode(b), ours[path], theirs[path], ignored)
    if "links" not in ignored:
        found += [f"{names}: linked in one tree only" for names in sorted(_linked(ours) ^ _linked(theirs))]
    return found


def _walk(root: bytes, ignored: set[str]) -> Iterator[tuple[bytes, os.stat_result]]:
    top = os.lstat(root)
    yield b"", top
    if not stat.S_ISDIR(top.st_mode):
        return
    for directory, directories, files in os.walk(root, onerror=_raise):
        above = os.path.relpath(directory, root)
        above = b"" if above == b"." else above + b"/"
        if not above:
            directories[:] = [name for name in directories if "/" + os.fsdecode(name) not in ignored]
            files = [name for name in files if "/" + os.fsdecode(name) not in ignored]
        for name in directories + files:
            yield above + name, os.lstat(os.path.join(directory, name))


def _raise(error: OSError) -> None:
    raise error


def _object_differences(
    path: bytes, a: bytes, b: bytes, ours: os.stat_result, theirs: os.stat_result, ignored: set[str]
) -> Iterator[str]:
    first, second = os.path.join(a, path) if path else a, os.path.join(b, path) if path else b
    kind = stat.S_IFMT(ours.st_mode)
    if kind != stat.S_IFMT(theirs.st_mode):
        if "kind" not in ignored:
            yield f"{_name(path)}: kind {stat.filemode(ours.st_mode)[0]} and {stat.filemode(theirs.st_mode)[0]}"
        return
    pairs: dict[str, tuple[object, object]] = {
        "mode": (oct(stat.S_IMODE(ours.st_mode)), oct(stat.S_IMODE(theirs.st_mode))),
        "owner": ((ours.st_uid, ours.st_gid), (theirs.st_uid, theirs.st_gid)),
        "mtime": (ours.st_mtime_ns, theirs.st_mtime_ns),
        "xattrs": (_xattrs(first), _xattrs(second)),
    }
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        pairs["rdev"] = (ours.st_rdev, theirs.st_rdev)
    if kind == stat.S_IFLNK:
        pairs["target"] = (os.readlink(first), os.readlink(second))
    for field, (left, right) in pairs.items():
        if field not in ignored and left != right:
            yield f"{_name(path)}: {field} {left!r} and {right!r}"
    if kind == stat.S_IFREG and "content" not in ignored and not _same_bytes(first, second):
        yield f"{_name(path)}: content of {ours.st_size} and {theirs.st_size} bytes"


def _xattrs(path: bytes) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if name not in _HOST_XATTRS}


def _same_bytes(first: bytes, second: bytes) -> bool:
    with open(first, "rb") as left, open(second, "rb") as right:
        while True:
            piece = left.read(1 << 20)
            if piece != right.read(1 << 20):
                return False
            if not piece:
                return True


def _linked(tree: dict[bytes, os.stat_result]) -> set[tuple[str, ...]]:
    """Return the groups of names that are one inode."""
    names: dict[int, list[str]] = {}
    for path, status in tree.items():
        if not stat.S_ISDIR(status.st_mode):
            names.setdefault(status.st_ino, []).append(_name(path))
    return {tuple(sorted(group)) for group in names.values() if len(group) > 1}


def _name(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace") or "."
