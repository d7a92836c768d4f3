"""What a command says when it goes wrong, and the exit code it ends with."""

import importlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import csfs
from csfs.cli import main
from csfs.errors import CsfsError, ExitCode, UnreachableError, WaitTimeoutError
from tests.cli.conftest import Host


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_explains_itself(host: Host, name: str) -> None:
    command = importlib.import_module(main.COMMANDS[name]).command
    assert command.name == name
    assert host.ok(name, "--help").startswith(f"Usage: csfs {name} ")
    assert command.help.rstrip().endswith(".")


def test_csfs_alone_lists_its_commands(host: Host) -> None:
    shown = host.ok("--help")
    assert [name for name in main.COMMANDS if f"\n  {name} " not in shown] == []
    assert "..." not in shown.partition("Commands:")[2], "whole sentences"
    assert main.run([]) == 0


def test_the_version_is_the_packages(host: Host) -> None:
    assert host.ok("--version") == f"csfs {csfs.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nonsense"], "csfs: no such command 'nonsense'; see csfs --help"),
        (["volume"], "csfs: a command is missing; see csfs volume --help"),
        (["init"], "csfs: missing option '--member'; see csfs init --help"),
        (
            ["wait", "--timeout", "-1"],
            "csfs: invalid value for '--timeout': -1.0 is not in the range x>=0; see csfs wait --help",
        ),
        (["wait", "--timeout", "x"], "csfs: invalid value for '--timeout': 'x' is not a number; see csfs wait --help"),
        (
            ["wait", "--timeout", "nan"],
            "csfs: invalid value for '--timeout': 'nan' is not a number; see csfs wait --help",
        ),
        (
            ["wait", "--timeout", "inf"],
            "csfs: invalid value for '--timeout': 'inf' is not a number; see csfs wait --help",
        ),
        (["log", "--limit", "x"], "csfs: invalid value for '--limit': 'x' is not a whole number; see csfs log --help"),
        (["join", "::::]", "x"], "is not an address"),
        (["restore", "/etc", "--to-time", "2999-01-31"], '"2999-01-31" is yet to come'),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(host: Host, arguments: list[str], line: str) -> None:
    ended = host.run(*arguments)
    assert ended.code == ExitCode.USAGE
    assert ended.err.count("\n") == 1
    assert line in ended.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (WaitTimeoutError("too late"), 4, "csfs: too late\n"),
        (ExceptionGroup("tasks", [ValueError("x"), UnreachableError("no way")]), 7, "csfs: no way\n"),
        (PermissionError(13, "Permission denied", "/etc/x"), 5, "csfs: /etc/x: not permitted; run csfs as root\n"),
        (FileNotFoundError(2, "No such file", "/x"), 3, "csfs: /x: No such file\n"),
        (OSError("odd"), 3, "csfs: odd\n"),
        (click.Abort(), 130, "csfs: interrupted\n"),
        (BaseExceptionGroup("tasks", [UnreachableError("no way"), KeyboardInterrupt()]), 130, "csfs: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    error: BaseException, code: int, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main.reported(error, []) == code
    assert capfd.readouterr().err == line


def test_an_interrupt_that_comes_out_of_a_nursery_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise BaseExceptionGroup("tasks", [KeyboardInterrupt()])

    monkeypatch.setattr(main.cli, "invoke", interrupted)
    assert main.run(["status"]) == 130
    assert capfd.readouterr().err == "csfs: interrupted\n"


def test_an_interrupt_at_the_very_first_is_one_line() -> None:
    # As Ctrl-C while click is being imported.
    program = (
        "import sys; from csfs import entry\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted()); entry.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "csfs: interrupted\n")
    project = Path(main.__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["scripts"]["csfs"] == "csfs.entry:main"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_json_is_json_whatever_the_terminal_can_show(encoding: str) -> None:
    program = (
        "import sys; from csfs.cli import main, output; sys.argv = ['csfs', '--version'];"
        r"main.run = lambda _: output.as_json('\xe9\u20ac\udcff') or 0; main.main()"
    )
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=True)
    assert json.loads(done.stdout.decode(encoding)) == "\xe9\u20ac\udcff"


@pytest.mark.parametrize("error", [ZeroDivisionError("by nought"), CsfsError("ours")])
def test_a_bug_is_one_line_and_its_traceback_is_kept(
    member: Host, error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    token = "a" * 119
    assert main.reported(error, ["--home", str(member.home.root), "join", "x", token]) == ExitCode.BUG
    line = capfd.readouterr().err
    assert line.startswith("csfs: bug: ")
    assert str(member.home.crash_log) in line
    kept = member.home.crash_log.read_text()
    assert str(error) in kept
    assert token not in kept


def test_a_traceback_finds_a_place_without_a_home(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main.reported(ZeroDivisionError("by nought"), ["--home", str(tmp_path / "none")])
    place = Path(capfd.readouterr().err.split()[-1])
    assert "by nought" in place.read_text()
    place.unlink()


def test_the_traceback_is_shown_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(main.DEBUG, "1")
    main.reported(UnreachableError("no way"), [])
    assert "Traceback" not in capfd.readouterr().out
    main.reported(UnreachableError("no way"), [])
    assert "UnreachableError: no way" in capfd.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(member: Host) -> None:
    command = [sys.executable, "-m", "csfs.cli.main", *member.home.arguments, "config", "show"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
