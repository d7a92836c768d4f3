"""What the commands about versions ask of the daemon, and what they make of its answers."""

import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from csfs.cli import arguments, main
from csfs.errors import ExitCode
from csfs.wire.control import Reply
from tests.cli.conftest import Host
from tests.cli.test_client import daemon

SIDE: dict[str, Any] = {
    "path": "/www/[x]",
    "kind": "file",
    "size": 4,
    "hash": "ab" * 32,
    "target": "",
    "mode": "0644",
    "owner": "root",
    "group": "root",
    "acl": "",
    "mtime_ns": 10**18,
    "member": "alpha",
    "version": "live",
    "kept_ns": None,
    "cause": "",
    "by": "",
}
KEPT = SIDE | {"version": "0123abcd", "hash": "cd" * 32, "kept_ns": 2 * 10**18, "cause": "replaced", "by": "beta"}


def test_a_path_is_meant_itself_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    (tmp_path / "real" / "link").symlink_to("elsewhere")
    assert arguments.place_of(str(tmp_path / "way" / "link")) == bytes(tmp_path / "real" / "link")
    assert arguments.place_of(str(tmp_path / "way" / "gone" / "too")) == bytes(tmp_path / "real" / "gone" / "too")


def test_a_version_is_after_the_last_at() -> None:
    assert arguments.versioned("/a/user@host@12ab") == (b"/a/user@host", "12ab")
    for text in ("/a/b", "/a/b@", "@12ab", "/a@b/c"):
        with pytest.raises(click.BadParameter, match="PATH@VERSION"):
            arguments.versioned(text)


def test_a_time_is_said_in_several_ways() -> None:
    assert arguments.moment_ns("@1.5") == 1_500_000_000
    assert arguments.moment_ns("@1790000000.123456789") == 1_790_000_000_123_456_789
    local = int(time.mktime((2026, 1, 31, 14, 5, 0, 0, 0, -1)))
    assert arguments.moment_ns("2026-01-31T14:05") == arguments.moment_ns("2026-01-31 14:05:00") == local * 10**9
    assert arguments.moment_ns("2026-01-31T14:05+00:00") == 1_769_868_300 * 10**9
    now_ns = local * 10**9
    assert arguments.moment_of("90m", now_ns) == now_ns - 90 * 60 * 10**9
    assert arguments.moment_of("9:07", now_ns) == now_ns - (4 * 60 + 58) * 60 * 10**9
    for text in ("@99999999999999999999", "2999-01-31"):
        with pytest.raises(click.BadParameter, match="yet to come"):
            arguments.moment_ns(text)
    for text in ("1950-01-31", "36500d"):
        with pytest.raises(click.BadParameter, match="before 1970"):
            arguments.moment_ns(text)
    for text in ("", "soon", "25:99", "12", "@x", "-5m", "0001-01-01"):
        with pytest.raises(click.BadParameter, match="is no time"):
            arguments.moment_ns(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["resolve"], "missing argument 'PATH'"),
        (["resolve", "/x", "--keep", "a", "--keep-all", "b"], "exclude each other"),
        (["resolve", "/x", "/y", "--file", "/etc/passwd"], "--file is for one PATH"),
        (["restore", "/x"], "PATH@VERSION"),
        (["restore", "/x", "--to", "/y"], '"/y" is no time'),
        (["restore", "/x@y/", "--to", "soon"], '"soon" is no time'),
        (["restore", "/x", "--to-time", "1h", "--to", "/y"], "exclude each other"),
        (["restore", "/x@1234", "--to", "/"], "is a directory"),
        (["history", "/x", "--limit", "0"], "not in the range"),
    ],
)
def test_wrong_usage_is_one_line(host: Host, line: list[str], words: str) -> None:
    ended = host.run(*line)
    assert (ended.code, ended.out, ended.err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert words in ended.err


@pytest.mark.parametrize("option", ["--to", "--to-time"])
@pytest.mark.parametrize("where", ["/www", "/www/to@home/"])
def test_a_directory_without_a_version_goes_back_to_a_time(host: Host, option: str, where: str) -> None:
    with daemon(host, lambda _: [Reply(0, {"restored": [], "undo": ""})]) as requests:
        host.ok("restore", where, option, "@1769868300.5", "--dry-run")
    asked = {"path": where.rstrip("/").encode(), "time_ns": 1_769_868_300_500_000_000, "dry_run": True}
    assert [(one.command, one.arguments) for one in requests] == [("revert", asked)]


def test_a_history_names_each_version_and_why_it_went(host: Host) -> None:
    with daemon(host, lambda _: [Reply(0, {"path": "/www/[x]", "versions": [SIDE, KEPT], "more": True})]) as requests:
        shown = host.ok("history", "/www/[x]", "--limit", "2")
    assert requests[0].arguments == {"path": b"/www/[x]", "limit": 2}
    assert "0123abcd" in shown
    assert "replaced by beta" in shown
    assert "there are more" in shown


def test_a_difference_of_attributes_and_binary_contents_is_said(host: Host) -> None:
    answers = {"newest": KEPT | {"mode": "0600", "data": b"a\0b\n"}, "live": SIDE | {"data": b"text"}}
    with daemon(host, lambda request: [Reply(0, answers[request.arguments["version"]])]):
        ended = host.run("diff", "/www/[x]")
    assert ended.code == ExitCode.FOUND
    assert ended.out.splitlines() == [
        "mode: 0600 -> 0644",
        f"/www/[x]@0123abcd: 4 bytes, {'cd' * 32}",
        f"/www/[x]@live: 4 bytes, {'ab' * 32}",
    ]


def test_a_version_that_ends_early_is_not_taken_for_whole(host: Host, tmp_path: Path) -> None:
    exact = {"uid": 0, "gid": 0, "xattrs": []}

    def answer(request: Any) -> list[Any]:
        if request.command == "restore":
            return [Reply(0, {"restored": [], "outside": True})]
        return [Reply(0, KEPT | exact | {"data": b"" if request.arguments["offset"] else b"abc"})]

    with daemon(host, answer):
        ended = host.run("restore", "/www/[x]@0123", "--to", str(tmp_path / "new"))
    assert (ended.code, "ended at 3 bytes, 4 expected" in ended.err) == (ExitCode.REFUSED, True)
    assert list(tmp_path.iterdir()) in ([], [host.home.root]), "what was begun is gone"


def completions(host: Host, *words: str) -> list[str]:
    """Return what csfs proposes for the last of these words."""
    asked = ShellComplete(main.cli, {}, "csfs", "_CSFS_COMPLETE")
    before = ["--home", str(host.home.root), *words[:-1]]
    return [item.value for item in asked.get_completions(before, words[-1])]


def test_where_not_to_listen_is_completed(member: Host) -> None:
    assert completions(member, "join", "192.0.2.1", "token", "--listen", "o") == ["off"]
    assert completions(member, "init", "--listen", "127") == []


def test_members_and_versions_are_completed(member: Host, tmp_path: Path) -> None:
    assert completions(member, "resolve", "/x", "--keep", "al") == ["alpha"]
    assert completions(member, "resolve", "/x", "--keep", "b") == []
    assert completions(member, "diff", "/www/[x]", "") == [], "nobody answers"
    other = KEPT | {"path": "/www/[x]/below", "version": "deadbeef"}
    with daemon(member, lambda _: [Reply(0, {"path": "/www/[x]", "versions": [SIDE, KEPT, other], "more": False})]):
        assert completions(member, "diff", "/www/[x]", "0") == ["0123abcd"]
        assert completions(member, "diff", "/www/[x]", "0123abcd", "") == ["live", "0123abcd"]
    assert completions(Host(tmp_path / "none", None), "resolve", "/x", "--keep", "") == []  # type: ignore[arg-type]
