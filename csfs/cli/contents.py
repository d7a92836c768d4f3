"""Versions of a path, whole: asked of the daemon piece by piece."""

import os
from collections.abc import Iterator
from typing import Any

from csfs.cli import client
from csfs.config.home import Home
from csfs.core.objects import Kind, Meta
from csfs.errors import ConfigError
from csfs.store import syscalls
from csfs.store.dressing import dress
from csfs.store.owners import Owners
from csfs.store.treating import Treated


def described(home: Home, path: bytes, version: str, offset: int = 0) -> dict[str, Any]:
    """Return one version of a path; `data` is a piece of its content from `offset` on.

    Raises:
        ConfigError: there is no such version.
    """
    found: dict[str, Any] = client.ask(home, "version", {"path": path, "version": version, "offset": offset})
    return found


def pieces(home: Home, path: bytes, version: str, first: dict[str, Any]) -> Iterator[bytes]:
    """Yield the content of the version that `first` describes, its first piece among it."""
    data, offset = first["data"], 0
    while data:
        yield data
        offset += len(data)
        if offset >= first["size"]:
            return
        data = described(home, path, version, offset)["data"]
    if offset < first["size"]:
        raise ConfigError(f"{os.fsdecode(path)}: {version} ended at {offset} bytes, {first['size']} expected")


def write_outside(home: Home, path: bytes, version: str, target: bytes, *, dry_run: bool) -> int:
    """Write a version, complete, to a new file outside its volume; return its size.

    Raises:
        ConfigError: something is there already, or the version is no file.
    """
    first = described(home, path, version)
    if first["kind"] != Kind.FILE.name.lower():
        raise ConfigError(f"{os.fsdecode(path)}: {version} is no file ({first['kind']}); only files go elsewhere")
    if os.path.lexists(target):
        raise ConfigError(f"{os.fsdecode(target)} is there already; choose another name")
    if dry_run:
        return int(first["size"])
    directory, name = os.path.split(target)
    parent = os.open(os.fsdecode(directory), os.O_PATH | os.O_DIRECTORY)
    building = b".csfs-restore.%d" % os.getpid()
    try:
        descriptor = os.open(building, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=parent)
        try:
            _fill(home, descriptor, path, version, first)
            syscalls.renameat2(parent, building, parent, name, syscalls.RENAME_NOREPLACE)
        except BaseException:
            os.unlink(building, dir_fd=parent)
            raise
        finally:
            os.close(descriptor)
    finally:
        os.close(parent)
    return int(first["size"])


def _fill(home: Home, descriptor: int, path: bytes, version: str, first: dict[str, Any]) -> None:
    with os.fdopen(os.dup(descriptor), "wb") as file:
        for piece in pieces(home, path, version, first):
            file.write(piece)
    xattrs = tuple((bytes(name), bytes(value)) for name, value in first["xattrs"])
    meta = Meta(int(first["mode"], 8), first["uid"], first["gid"], first["owner"], first["group"], xattrs)
    dress(descriptor, Kind.FILE, meta, first["mtime_ns"], Treated(Owners()))
