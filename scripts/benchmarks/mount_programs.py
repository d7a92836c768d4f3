"""The programs that `scripts/bench mount` times: each takes a scene and returns seconds."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks.mount_operations import Scene

DBENCH_CLIENTS = 2


def _command(scene: Scene, *words: str) -> list[float]:
    begin = time.perf_counter()
    subprocess.run(words, cwd=scene.project, check=True, stdout=subprocess.DEVNULL)
    return [time.perf_counter() - begin]


def git_status(scene: Scene) -> list[float]:
    return _command(scene, "git", "status", "--porcelain")


def tar_x(scene: Scene) -> list[float]:
    (scene.directory / "untarred").mkdir()
    return _command(scene, "tar", "xf", str(scene.archive), "-C", str(scene.directory / "untarred"))


def grep_r(scene: Scene) -> list[float]:
    return _command(scene, "grep", "-rc", "line 9", ".", "--exclude-dir=.git", "--no-messages")


def find(scene: Scene) -> list[float]:
    return _command(scene, "find", ".", "-type", "f", "-newer", ".git", "-size", "+1k")


def cp_a(scene: Scene) -> list[float]:
    return _command(scene, "cp", "-a", str(scene.project), str(scene.directory / "copied"))


def rm_r(scene: Scene) -> list[float]:
    return _command(scene, "rm", "-r", str(scene.directory / "copied"))


def dpkg_unpack(scene: Scene) -> list[float]:
    """A package of the project's files, unpacked by dpkg: its database outside, its fsyncs left out (they are the disk's)."""
    package = packaged(scene.archive)
    database = scene.archive.parent / "dpkg"
    shutil.rmtree(database, ignore_errors=True)
    for name in ("info", "updates"):
        (database / name).mkdir(parents=True)
    for name in ("status", "available"):
        (database / name).touch()
    target = scene.directory / "unpacked"
    target.mkdir()
    options = (f"--admindir={database}", f"--instdir={target}", "--log=/dev/null", "--force-unsafe-io")
    return _command(scene, "dpkg", *options, "--unpack", str(package))


def packaged(archive: Path) -> Path:
    """Return a Debian package with the contents of `archive`; it is built once."""
    package = archive.with_suffix(".deb")
    if not package.exists():
        source = archive.parent / "package"
        (source / "DEBIAN").mkdir(parents=True)
        control = "Package: project\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: files\n"
        (source / "DEBIAN" / "control").write_text(control)
        subprocess.run(["tar", "xf", str(archive), "-C", str(source)], check=True)
        subprocess.run(
            ["dpkg-deb", "-Znone", "--build", str(source), str(package)], check=True, stdout=subprocess.DEVNULL
        )
    return package


def dbench(directory: Path, duration_s: int) -> float:
    """Return dbench's throughput in MB/s in `directory`: what file servers do, replayed by two clients."""
    directory.mkdir(exist_ok=True)
    words = ["dbench", "-D", str(directory), "-t", str(duration_s), str(DBENCH_CLIENTS)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = re.search(r"Throughput ([0-9.]+) MB/sec", done.stdout)
    if found is None:
        raise SystemExit(f"dbench says nothing of a throughput: {done.stdout[-300:]}")
    return float(found.group(1))


PROGRAMS: dict[str, Callable[[Scene], list[float]]] = {
    "git status": git_status,
    "tar x": tar_x,
    "dpkg --unpack": dpkg_unpack,
    "grep -r": grep_r,
    "find": find,
    "cp -a": cp_a,
    "rm -r": rm_r,
}
