"""The operations that `scripts/bench mount` times: each takes a scene and returns seconds, one figure an operation made."""

import contextlib
import io
import os
import random
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAGE = b"x" * 4096
LARGE_SIZE = 32 * 1024 * 1024
LARGE_PIECE = 128 * 1024
TREE_DIRECTORIES = 12
TREE_FILES = 15


@dataclass
class Scene:
    """One round in one directory: `files` to work on, a `project` of many small files, an archive of it outside."""

    directory: Path
    work: Path
    files: list[str]
    fresh: list[str]
    project: Path
    archive: Path


def prepared(directory: Path, count: int) -> Scene:
    """Make what the operations work on."""
    directory.mkdir()
    work = directory / "work"
    work.mkdir()
    files = [str(work / f"file-{number:04}") for number in range(count)]
    for name in files:
        Path(name).write_bytes(PAGE)
    archive = directory.parent.parent / "project.tar"  # beside what is measured, not in it
    if not archive.exists():
        archive.write_bytes(_archive())
    project = directory / "project"
    project.mkdir()
    subprocess.run(["tar", "xf", str(archive), "-C", str(project)], check=True)
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", str(project), *command], check=True)
    return Scene(directory, work, files, [f"{name}-new" for name in files], project, archive)


def _archive() -> bytes:
    """Return a tar file of a project: directories of text files."""
    dice = random.Random(3)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for place in range(TREE_DIRECTORIES):
            for number in range(TREE_FILES):
                text = "\n".join(f"line {dice.randrange(10**9)} of a file" for _ in range(dice.randrange(10, 300)))
                header = tarfile.TarInfo(f"part-{place}/source-{number}.txt")
                header.size = len(text)
                archive.addfile(header, io.BytesIO(text.encode()))
    return content.getvalue()


def _each(names: list[str], act: Callable[[str], object]) -> list[float]:
    """Time `act` for each of `names`."""
    clock = time.perf_counter
    taken = []
    for name in names:
        begin = clock()
        act(name)
        taken.append(clock() - begin)
    return taken


def _once(act: Callable[[], object]) -> list[float]:
    begin = time.perf_counter()
    act()
    return [time.perf_counter() - begin]


def _written(name: str, flags: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | flags, 0o644)
    os.write(descriptor, PAGE)
    os.close(descriptor)


def _read(name: str) -> None:
    descriptor = os.open(name, os.O_RDONLY)
    os.read(descriptor, 65536)
    os.close(descriptor)


def create(scene: Scene) -> list[float]:
    return _each(scene.fresh, lambda name: _written(name, os.O_CREAT | os.O_EXCL))


def rewrite(scene: Scene) -> list[float]:
    return _each(scene.files, lambda name: _written(name, os.O_TRUNC))


def stat(scene: Scene) -> list[float]:
    """By name in the current directory, as find, ls, git and tar go about it."""
    names = [os.path.basename(name) for name in scene.files]
    with contextlib.chdir(scene.work):
        for name in names:
            os.stat(name)
        return _each(names * 5, os.stat)


def stat_by_path(scene: Scene) -> list[float]:
    """By absolute path: every directory on the way is looked up and checked as well."""
    for name in scene.files:
        os.stat(name)
    return _each(scene.files * 5, os.stat)


def lookup(scene: Scene) -> list[float]:
    """A name alone: opened as a place, which asks for no attributes."""

    def act(name: str) -> None:
        os.close(os.open(name, os.O_PATH))

    for name in scene.files:
        act(name)
    return _each(scene.files * 3, act)


def lookup_absent(scene: Scene) -> list[float]:
    """A name that is not there, as every search path has them."""
    names = [f"{name}-absent" for name in scene.files]
    for name in names:
        os.access(name, os.F_OK)
    return _each(names * 3, lambda name: os.access(name, os.F_OK))


def walk(scene: Scene) -> list[float]:
    """Names from memory: stat of every file of the project, found by path, without opening a directory."""
    with contextlib.chdir(scene.project):
        names = [os.path.join(where, name) for where, _, names in os.walk(".") for name in names]
        for name in names:
            os.lstat(name)
        return [_once(lambda: [os.lstat(name) for name in names])[0] / len(names) for _ in range(9)]


def read(scene: Scene) -> list[float]:
    for name in scene.files:
        _read(name)
    return _each(scene.files, _read)


def reread(scene: Scene) -> list[float]:
    descriptor = os.open(scene.files[0], os.O_RDONLY)
    os.pread(descriptor, 4096, 0)
    taken = _each(scene.files * 3, lambda _: os.pread(descriptor, 4096, 0))
    os.close(descriptor)
    return taken


def chmod(scene: Scene) -> list[float]:
    return _each(scene.files, lambda name: os.chmod(name, 0o600))


def chown(scene: Scene) -> list[float]:
    return _each(scene.files, lambda name: os.chown(name, 1, 1))


def rename(scene: Scene) -> list[float]:
    taken = _each(scene.files, lambda name: os.rename(name, name + "-moved"))
    return taken + _each(scene.files, lambda name: os.rename(name + "-moved", name))


def write_4k(scene: Scene) -> list[float]:
    descriptor = os.open(scene.directory / "written", os.O_WRONLY | os.O_CREAT, 0o644)
    taken = _each(scene.files * 2, lambda _: os.write(descriptor, PAGE))
    os.close(descriptor)
    return taken


def unlink(scene: Scene) -> list[float]:
    names = [f"{name}-gone" for name in scene.files]
    for name in names:
        _written(name, os.O_CREAT)
    return _each(names, os.unlink)


def readdir(scene: Scene) -> list[float]:
    os.listdir(scene.work)
    return [_once(lambda: os.listdir(scene.work))[0] for _ in range(9)]


def sequential_write(scene: Scene) -> list[float]:
    piece = b"y" * LARGE_PIECE

    def act() -> None:
        with open(scene.directory / "large", "wb", buffering=0) as file:
            for _ in range(LARGE_SIZE // LARGE_PIECE):
                file.write(piece)

    return _once(act)


def sequential_read(scene: Scene) -> list[float]:
    """A large file that the file system measured has no pages of; the one underneath may have them."""
    name = scene.directory / "large-read"
    with open(name, "wb", buffering=0) as file:
        for _ in range(LARGE_SIZE // LARGE_PIECE):
            file.write(b"y" * LARGE_PIECE)
        os.fsync(file.fileno())

    def act() -> None:
        with open(name, "rb", buffering=0) as file:
            while file.read(LARGE_PIECE):
                pass

    taken = []
    for _ in range(2):
        with open(name, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        taken += _once(act)
    return taken


OPERATIONS: dict[str, Callable[[Scene], list[float]]] = {
    "create + 4 KiB": create,
    "rewrite 4 KiB": rewrite,
    "stat": stat,
    "stat, full path": stat_by_path,
    "walk, a file": walk,
    "lookup": lookup,
    "lookup, absent": lookup_absent,
    "open, read, close": read,
    "re-read 4 KiB": reread,
    "readdir": readdir,
    "chmod": chmod,
    "chown": chown,
    "rename": rename,
    "write 4 KiB": write_4k,
    "unlink": unlink,
    "write 32 MiB": sequential_write,
    "read 32 MiB": sequential_read,
}
