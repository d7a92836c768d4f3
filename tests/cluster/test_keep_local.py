"""With `keep_local`, what this host's own programs overwrite or remove can be had back without any peer."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.errors import ExitCode
from scripts.benchmarks.measuring import fresh_filesystem
from scripts.support.members import Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_versions import history, ran

Pair = tuple[Member, Member]
LARGE = 8 << 20
MTIME_NS = 1_600_000_000_123_456_789


@pytest.fixture(scope="module", params=["ext4", "xfs"])
def members(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two members of a group that keeps, on a file system that can have files share blocks, or cannot."""
    if shutil.which(f"mkfs.{request.param}") is None:
        pytest.skip(f"no mkfs.{request.param} here")
    with (
        fresh_filesystem(2048, kind=request.param) as place,
        two_members(place / "members", group="keep_local = true") as pair,
    ):
        yield pair
        expect_calm_logs(*pair)


@contextlib.contextmanager
def alone(alpha: Member, beta: Member) -> Iterator[None]:
    """Alpha has nobody to ask in here."""
    beta.stop_daemon()
    until(lambda: not alpha.peer()["connected"], "alpha is alone")
    try:
        yield
    finally:
        for member in (alpha, beta):
            member.start_daemon()
    replicating(alpha, beta)


def made(alpha: Member, name: str, content: bytes) -> Path:
    """Return a file of alpha's that has all there is to be kept."""
    file = alpha.tree / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    os.chown(file, 12, 34)
    file.chmod(0o6750)
    os.setxattr(file, "user.note", b"mine")
    os.utime(file, ns=(MTIME_NS, MTIME_NS))
    return file


def described(file: Path) -> tuple[object, ...]:
    """Return all of a file that a restore has to bring back."""
    status = file.stat()
    attributes = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, os.getxattr(file, "user.note"))
    return file.read_bytes(), *attributes


def versions_here(alpha: Member, file: Path) -> list[dict[str, object]]:
    """Return the versions of a file whose content is here, the newest first, the live one left out."""
    return [v for v in history(alpha, str(file.relative_to(alpha.tree))) if v["kept_ns"] and v["size"] and v["here"]]


def start_again(alpha: Member) -> None:
    """Start alpha's daemon, and return when it has compared everything."""
    alpha.start_daemon()
    until(lambda: alpha.volume()["state"] == "replicating", "alpha is at work again")


def restore(alpha: Member, file: Path, version: object) -> None:
    done = ran(alpha, "restore", f"{file}@{version}")
    assert done.returncode == ExitCode.DONE, done.stderr
    until(lambda: file.exists(), "it is back")


def rewritten(file: Path) -> None:
    file.write_bytes(b"other\n")


def overwritten(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"other\n")


def cut(file: Path) -> None:
    os.truncate(file, 3)


def edited(file: Path) -> None:
    subprocess.run(["sed", "-i", "s/^/other /", file], check=True)


def removed(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("destroy", [rewritten, overwritten, cut, edited, removed])
@pytest.mark.parametrize("is_known", [True, False])
def test_what_a_program_destroys_can_be_had_back_with_nobody_there(
    members: Pair, destroy: Callable[[Path], None], is_known: bool
) -> None:
    alpha, beta = members
    with alone(alpha, beta):
        if not is_known:
            alpha.kill_daemon()  # so that the daemon never looked at what is destroyed
        file = made(alpha, f"{destroy.__name__}-{is_known}", b"worth something\n")
        before = described(file)
        if is_known:
            alpha.wait()
        destroy(file)
        if not is_known:
            start_again(alpha)
        kept = versions_here(alpha, file)[0]
        cause = "removed" if destroy is removed else "replaced"
        assert (kept["size"], kept["mode"], kept["by"], kept["cause"]) == (16, "6750", "alpha", cause)
        compared = ran(alpha, "diff", str(file), str(kept["version"]))
        assert "-worth something" in compared.stdout, compared.stderr
        restore(alpha, file, kept["version"])
        until(lambda: described(file) == before, "it is as it was")
    for member in members:
        member.wait()
    assert described(beta.tree / file.name) == before


def test_a_large_file_is_kept_where_blocks_can_be_shared_and_whatever_is_removed(members: Pair) -> None:
    alpha, beta = members
    content = os.urandom(LARGE)
    kind = subprocess.run(["stat", "-f", "-c", "%T", alpha.directory], capture_output=True, text=True, check=True)
    with alone(alpha, beta):
        file = made(alpha, "large", content)
        alpha.wait()
        overwritten(file)
        kept = versions_here(alpha, file)
        # One content, which may have been looked at before it had all of its attributes.
        assert len({version["hash"] for version in kept}) == (kind.stdout.strip() == "xfs")
        noted = next(version for version in history(alpha, "large") if version["kept_ns"])
        if kept:
            restore(alpha, file, noted["version"])
            until(lambda: file.read_bytes() == content, "it is as it was")
        else:
            assert ran(alpha, "restore", f"{file}@{noted['version']}").returncode != ExitCode.DONE
        before = file.read_bytes()
        file.unlink()
        restore(alpha, file, versions_here(alpha, file)[0]["version"])
        until(lambda: file.read_bytes() == before, "it is back")


def test_a_directory_is_as_it_was_at_a_time(members: Pair) -> None:
    alpha, beta = members
    with alone(alpha, beta):
        files = [made(alpha, f"timed/{number}", b"of then %d\n" % number) for number in range(5)]
        alpha.wait()
        before, then = [described(file) for file in files], time.time()
        for destroy, file in zip((rewritten, overwritten, cut, edited, removed), files, strict=True):
            destroy(file)
            if file.exists():
                file.write_bytes(b"and once more\n")
        done = ran(alpha, "restore", str(alpha.tree / "timed"), "--to-time", f"@{then:.6f}", "--json")
        restored = {item["path"]: item["error"] for item in json.loads(done.stdout)["restored"]}
        # On a busy host the file that sed renames may have been looked at before, and was then made after that time.
        assert {name: error for name, error in restored.items() if "/sed" not in name} == {str(f): "" for f in files}
        until(lambda: [described(file) for file in files] == before, "all is as it was")


def test_a_file_with_several_names_comes_back_under_each_of_them(members: Pair) -> None:
    alpha, beta = members
    with alone(alpha, beta):
        first, second = made(alpha, "linked", b"of both names\n"), alpha.tree / "linked2"
        os.link(first, second)
        alpha.wait()
        overwritten(second)
        assert os.stat(first).st_ino == os.stat(second).st_ino
        versions = [(file, versions_here(alpha, file)[0]) for file in (first, second)]
        assert versions[0][1]["hash"] == versions[1][1]["hash"]
        second.unlink()
        for file, version in versions:
            restore(alpha, file, version["version"])
        until(lambda: first.read_bytes() == second.read_bytes() == b"of both names\n", "both are as they were")


def test_of_what_a_killed_mount_told_nobody_nothing_is_lost(members: Pair) -> None:
    alpha, beta = members
    with alone(alpha, beta):
        file = made(alpha, "killed", b"before the kill\n")
        alpha.wait()
        alpha.stop_daemon()
        overwritten(file)
        alpha.kill_mount()
        start_again(alpha)
        store = alpha.underneath / ".csfs" / "kept"
        assert b"before the kill\n" in [one.read_bytes() for one in store.iterdir()]
