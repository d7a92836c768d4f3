"""What was displaced comes back, complete, at all members, and each restoration can be taken back."""

import os
import shlex
import time
from pathlib import Path

from csfs.errors import ExitCode
from csfs.wire.messages import INLINE_SIZE_MAX
from scripts.support.members import VOLUME, Member, replicating, until
from tests.cluster.test_versions import Pair, apart, history, ran, told, write
from tests.trees import differences

ALPHAS = "by alpha\n" * INLINE_SIZE_MAX


def both_show(pair: Pair, name: str, text: str | None) -> None:
    """Both members show this content, or nothing."""
    for member in pair:
        member.wait()
    for member in pair:
        path = member.tree / name
        assert (path.read_text() if path.exists() else None) == text, member.name


def as_said(member: Member, command: str) -> None:
    """Run a command that csfs printed."""
    program, *arguments = shlex.split(command)
    assert program == "csfs"
    assert ran(member, *arguments).returncode == ExitCode.DONE


def test_a_version_comes_back_with_all_that_it_had_and_that_is_taken_back(pair: Pair) -> None:
    alpha, beta = pair
    path = alpha.tree / "back/file"
    write(path, "the first\n")
    path.chmod(0o640)
    os.chown(path, 1, 2)
    os.setxattr(path, "user.colour", b"blue")
    os.utime(path, ns=(1_000_000_000_123_456_789, 1_000_000_000_123_456_789))
    alpha.wait()
    write(beta.tree / "back/new", "the second\n")
    os.rename(beta.tree / "back/new", beta.tree / "back/file")
    both_show(pair, "back/file", "the second\n")
    kept = history(alpha, "back/file")[1]
    version = f"{path}@{kept['version']}"
    dry = ran(alpha, "restore", version, "--dry-run").stdout
    assert "would be replaced" in dry
    assert path.read_text() == "the second\n"
    (done,) = told(alpha, "restore", version)["restored"]
    assert (done["what"], done["error"]) == ("replace", "")
    both_show(pair, "back/file", "the first\n")
    for member in pair:
        found = (member.tree / "back/file").stat()
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o640, 1, 2)
        assert found.st_mtime_ns == 1_000_000_000_123_456_789
        assert os.getxattr(member.tree / "back/file", "user.colour") == b"blue"
    assert "it is so already" in ran(alpha, "restore", version).stdout
    as_said(alpha, done["undo"])
    both_show(pair, "back/file", "the second\n")
    assert os.listxattr(path) == []
    assert not told(alpha, "conflicts", str(path))


def test_what_was_removed_comes_back_with_its_directories_and_may_be_taken_away_again(pair: Pair) -> None:
    alpha, beta = pair
    write(alpha.tree / "gone/below/file", "gone\n")
    (alpha.tree / "gone/below").chmod(0o710)
    os.symlink("file", alpha.tree / "gone/below/link")
    alpha.wait()
    beta.wait()
    for name in ("file", "link"):
        (beta.tree / "gone/below" / name).unlink()
    (beta.tree / "gone/below").rmdir()
    (beta.tree / "gone").rmdir()
    beta.wait()
    assert not (alpha.tree / "gone").exists()
    removed = {version["kind"]: version for version in history(alpha, "gone") if version["cause"] == "removed"}
    kept = removed["file"]
    assert (removed["symlink"]["path"], removed["symlink"]["target"]) == (str(alpha.tree / "gone/below/link"), "file")
    assert kept["path"] == str(alpha.tree / "gone/below/file")
    (done,) = told(alpha, "restore", f"{kept['path']}@{kept['version']}")["restored"]
    assert done["what"] == "create"
    both_show(pair, "gone/below/file", "gone\n")
    assert (beta.tree / "gone/below").stat().st_mode & 0o7777 == 0o710
    as_said(alpha, done["undo"])
    both_show(pair, "gone/below/file", None)


def test_a_version_goes_to_another_name_inside_and_outside_of_the_volume(pair: Pair, tmp_path: Path) -> None:
    alpha, beta = pair
    path = alpha.tree / "other/file"
    write(path, "to go elsewhere\n")
    path.chmod(0o604)
    alpha.wait()
    write(beta.tree / "other/file", "stays\n")
    beta.wait()
    version = f"{path}@{history(alpha, 'other/file')[1]['version']}"
    ran(alpha, "restore", version, "--to", str(alpha.tree / "other/copy"))
    both_show(pair, "other/copy", "to go elsewhere\n")
    both_show(pair, "other/file", "stays\n")
    ran(alpha, "restore", version, "--to", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "to go elsewhere\n"
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == 0o604
    taken = ran(alpha, "restore", version, "--to", str(tmp_path / "copy"))
    assert (taken.returncode, "there already" in taken.stderr) == (ExitCode.REFUSED, True)
    assert os.listdir(tmp_path) == ["copy"]
    nowhere = ran(alpha, "restore", version, "--to", str(alpha.tree / "other/none/copy"))
    assert (nowhere.returncode, "make it first" in nowhere.stderr) == (ExitCode.REFUSED, True)


def test_a_directory_goes_back_to_a_time_and_forward_again(pair: Pair) -> None:
    alpha, beta = pair
    for name in ("a", "b", "sub/c", "kept"):
        write(alpha.tree / "then" / name, f"{name} as it was\n")
    alpha.wait()
    then = time.time_ns()
    write(beta.tree / "then/a", "a, changed\n")
    (beta.tree / "then/b").unlink()
    (beta.tree / "then/sub/c").unlink()
    (beta.tree / "then/sub").rmdir()
    write(beta.tree / "then/new", "made since\n")
    beta.wait()
    moment = f"@{then // 10**9}.{then % 10**9:09d}"
    planned = told(alpha, "restore", str(alpha.tree / "then"), "--to-time", moment, "--dry-run")["restored"]
    names = {str(Path(item["path"]).relative_to(alpha.tree / "then")): item["what"] for item in planned}
    assert names == {"a": "replace", "b": "create", "sub": "create", "sub/c": "create"}
    done = told(alpha, "restore", str(alpha.tree / "then"), "--to-time", moment)
    assert [item["error"] for item in done["restored"]] == [""] * 4
    for name in ("a", "b", "sub/c", "kept"):
        both_show(pair, f"then/{name}", f"{name} as it was\n")
    both_show(pair, "then/new", "made since\n")
    as_said(alpha, done["undo"])
    both_show(pair, "then/a", "a, changed\n")
    for name in ("b", "sub/c"):
        both_show(pair, f"then/{name}", None)
    assert not (beta.tree / "then/sub").exists()
    assert differences(str(alpha.tree), str(beta.tree)) == []


def test_what_has_no_content_of_its_own_comes_back_too(pair: Pair) -> None:
    alpha, beta = pair
    write(alpha.tree / "own/file", "of two names\n")
    write(alpha.tree / "own/same", "of two names\n")
    write(alpha.tree / "own/empty", "")
    os.symlink("somewhere", alpha.tree / "own/link")
    alpha.wait()
    then = time.time_ns()
    for name in ("file", "empty", "link"):
        (beta.tree / "own" / name).unlink()
    beta.wait()
    assert [version["cause"] for version in history(alpha, "own")[1:]] == ["removed"] * 3
    moment = f"@{then // 10**9}.{then % 10**9:09d}"
    done = told(alpha, "restore", str(alpha.tree / "own"), "--to-time", moment)["restored"]
    assert [item["error"] for item in done] == [""] * 3
    both_show(pair, "own/file", "of two names\n")
    both_show(pair, "own/empty", "")
    assert os.readlink(beta.tree / "own/link") == "somewhere"


def test_what_is_not_kept_from_then_is_said(pair: Pair) -> None:
    alpha, beta = pair
    then = time.time_ns()
    write(alpha.tree / "since/file", "made since\n")
    alpha.wait()
    write(beta.tree / "since/file", "and changed\n")
    beta.wait()
    moment = f"@{then // 10**9}.{then % 10**9:09d}"
    (left,) = told(alpha, "restore", str(alpha.tree / "since"), "--to-time", moment, code=ExitCode.FOUND)["restored"]
    assert "made after that time" in left["error"]
    both_show(pair, "since/file", "and changed\n")


def test_versions_are_compared(pair: Pair) -> None:
    alpha, beta = pair
    path = alpha.tree / "compared/file"
    write(path, "one\ntwo\nthree")
    alpha.wait()
    write(beta.tree / "compared/file", "one\n2\nthree")
    (beta.tree / "compared/file").chmod(0o600)
    beta.wait()
    version = history(alpha, "compared/file")[-1]["version"]
    shown = ran(alpha, "diff", str(path), version)
    assert shown.returncode == ran(alpha, "diff", str(path)).returncode == ExitCode.FOUND
    lines = shown.stdout.splitlines()
    assert lines[0] == "mode: 0644 -> 0600"
    assert lines[3:] == ["@@ -1,3 +1,3 @@", " one", "-two", "+2", " three", "\\ No newline at end of file"]
    assert ran(alpha, "diff", str(path), version, version[:5]).stdout == ""
    write(beta.tree / "compared/file", "\0binary")
    beta.wait()
    binary = told(alpha, "diff", str(path), version, code=ExitCode.FOUND)
    assert (binary["new"]["size"], binary["differs"]) == (7, True)
    assert [line.split(": ")[1].split(",")[0] for line in binary["diff"][1:]] == ["13 bytes", "7 bytes"]
    unknown = ran(alpha, "diff", str(path), "0000000")
    assert (unknown.returncode, "csfs history lists them" in unknown.stderr) == (ExitCode.REFUSED, True)


def test_what_nobody_reachable_has_is_not_decided(pair: Pair) -> None:
    alpha, beta = pair
    with apart(alpha, beta):
        # Nothing that travels with its record.
        write(alpha.tree / "unreachable/file", ALPHAS, int(time.time()) - 100)
        write(beta.tree / "unreachable/file", "by beta\n")
    alpha.stop_daemon()
    path = beta.tree / "unreachable/file"
    (refused,) = told(beta, "resolve", str(path), "--keep", "alpha", code=ExitCode.FOUND)["resolved"]
    assert "is alpha connected?" in refused["error"]
    assert told(beta, "conflicts", str(path), code=ExitCode.FOUND)
    alpha.start_daemon()
    replicating(alpha, beta)
    both_show(pair, "unreachable/file", path.read_text())
    told(beta, "resolve", str(path), "--keep", "alpha")
    both_show(pair, "unreachable/file", ALPHAS)


def test_what_a_program_here_destroyed_comes_back_from_a_peer(pair: Pair) -> None:
    alpha, beta = pair
    large = "more than one block\n" * 10_000
    write(alpha.tree / "destroyed/removed", large)
    write(alpha.tree / "destroyed/sub/overwritten", "precious\n")
    write(alpha.tree / "destroyed/sub/readable", "by all\n")
    (alpha.tree / "destroyed/empty").mkdir(mode=0o711)
    alpha.wait()
    then = time.time_ns()
    (alpha.tree / "destroyed/removed").unlink()
    (alpha.tree / "destroyed/empty").rmdir()
    write(alpha.tree / "destroyed/sub/overwritten", "by mistake\n")
    (alpha.tree / "destroyed/sub/readable").chmod(0)
    alpha.wait()
    found = {(v["path"].rpartition("/")[2], v["cause"], v["by"], v["here"]) for v in history(alpha, "destroyed")[1:]}
    assert ("removed", "removed", "alpha", False) in found
    assert ("readable", "replaced", "alpha", True) in found
    assert "its content is at a peer" in ran(alpha, "history", str(alpha.tree / "destroyed")).stdout
    shown = ran(alpha, "diff", str(alpha.tree / "destroyed/sub/overwritten")).stdout
    assert shown.splitlines()[-2:] == ["-precious", "+by mistake"]
    moment = f"@{then // 10**9}.{then % 10**9:09d}"
    done = told(alpha, "restore", str(alpha.tree / "destroyed"), "--to-time", moment)
    assert [item["error"] for item in done["restored"]] == [""] * 4
    both_show(pair, "destroyed/removed", large)
    both_show(pair, "destroyed/sub/overwritten", "precious\n")
    for member in pair:
        assert (member.tree / "destroyed/sub/readable").stat().st_mode & 0o777 == 0o644
        assert (member.tree / "destroyed/empty").stat().st_mode & 0o777 == 0o711
    as_said(alpha, done["undo"])
    both_show(pair, "destroyed/sub/overwritten", "by mistake\n")
    both_show(pair, "destroyed/removed", None)
    assert differences(str(alpha.tree), str(beta.tree)) == []


def test_who_may_not_or_cannot_decide_says_so(pair: Pair) -> None:
    alpha, beta = pair
    write(beta.tree / "mayhap/file", "first\n")
    beta.wait()
    then_s = time.time()
    write(alpha.tree / "mayhap/file", "second\n")
    alpha.wait()
    path = beta.tree / "mayhap/file"
    version = f"{path}@{history(beta, 'mayhap/file')[1]['version']}"
    before = alpha.home.settings_file.read_text()
    receiving = f'[[volumes.{VOLUME}.groups]]\nmembers = ["alpha"]\nreceive_only = ["beta"]\n'
    alpha.home.settings_file.write_text(before + "\n" + receiving)
    alpha.csfs("config", "reload")
    until(lambda: ran(beta, "restore", version, "--dry-run").returncode == ExitCode.NOT_PERMITTED, "beta may not")
    assert "only receives it" in ran(beta, "restore", version).stderr
    whole = ran(beta, "restore", str(beta.tree / "mayhap"), "--to-time", f"@{then_s:.6f}", "--dry-run")
    refused = f"{path}: this member only receives it; run this on one that may change it"
    assert (whole.returncode, refused in whole.stdout.splitlines()) == (ExitCode.FOUND, True)
    assert path.read_text() == "second\n"
    alpha.home.settings_file.write_text(before)
    alpha.csfs("config", "reload")
    until(lambda: ran(beta, "restore", version, "--dry-run").returncode == ExitCode.DONE, "beta may again")
    beta.umount()
    ended = ran(beta, "restore", version)
    assert (ended.returncode, f"csfs mount {beta.tree}" in ended.stderr) == (ExitCode.NOT_RUNNING, True)
    assert history(beta, "mayhap/file"), "what is in the index needs no mount"
    beta.mount()
    replicating(alpha, beta)
    assert ran(beta, "restore", version).returncode == ExitCode.DONE
    both_show(pair, "mayhap/file", "first\n")
    elsewhere = ran(beta, "restore", "/proc/version@1234")
    assert (elsewhere.returncode, "in no volume" in elsewhere.stderr) == (ExitCode.REFUSED, True)
