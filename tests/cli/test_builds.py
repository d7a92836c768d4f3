"""A command of one csfs and a daemon of another, which it was not restarted as: one line says so, with the cure."""

import datetime
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import csfs
from csfs.errors import ExitCode
from csfs.trust.invitations import Invitations
from scripts.support.members import until
from tests.cli.conftest import Host

CURE = "systemctl restart csfs-daemon"
VERSION = f'__version__ = "{csfs.__version__}"'


def build(base: Path, file: str, old: str, new: str) -> Path:
    """Return where a csfs is that differs in one place."""
    package = Path(csfs.__file__).parent
    shutil.copytree(package, base / "csfs", ignore=shutil.ignore_patterns("__pycache__"))
    changed = base / "csfs" / file
    text = changed.read_text()
    assert text.count(old) == 1
    changed.write_text(text.replace(old, new))
    return base


def line(host: Host, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "csfs.cli.main", *host.home.arguments, *arguments]


@contextmanager
def daemon_of(where: Path, host: Host) -> Iterator[None]:
    """Run the daemon of another csfs."""
    with subprocess.Popen(line(host, "daemon"), cwd=where, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: host.run("status").code != ExitCode.NOT_RUNNING, "the daemon answers")
            yield
        finally:
            process.terminate()


def of_another_version(base: Path) -> Path:
    return build(base, "__init__.py", VERSION, '__version__ = "0.0.9"')


def which_tells_less(base: Path) -> Path:
    return build(base, "daemon/commands.py", '"pid": os.getpid(),', "")


def whose_words_are_others(base: Path) -> Path:
    return build(
        base, "wire/control.py", "class Reply(Tagged, frozen=True):", "class Reply(Tagged, frozen=True, tag='R'):"
    )


def which_knows_less(base: Path) -> Path:
    return build(base, "daemon/commands.py", '"status": self._status,', '"stands": self._status,')


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (of_another_version, f"the daemon is csfs 0.0.9, this command {csfs.__version__}"),
        (which_tells_less, 'the daemon tells nothing of "pid"'),
        (whose_words_are_others, "what the daemon says cannot be read"),
        (which_knows_less, f"this daemon ({csfs.__version__}) knows no command status"),
    ],
)
def test_the_daemon_is_to_be_restarted(member: Host, tmp_path: Path, other: Callable[[Path], Path], said: str) -> None:
    with daemon_of(other(tmp_path / "other"), member):
        ended = member.run("status")
        assert (ended.code, ended.out, ended.err.count("\n")) == (ExitCode.REFUSED, "", 1), ended.err
        assert said in ended.err
        assert CURE in ended.err
        member.ok("daemon", "--stop")
    assert member.ok("invite", "beta"), "which starts ours"
    assert member.run("status").code in (ExitCode.DONE, ExitCode.FOUND)


def test_a_command_of_before_is_told_the_same(member: Host, tmp_path: Path) -> None:
    member.ok("invite", "beta")
    asks_less = build(tmp_path / "other", "cli/invite.py", '"member": member, ', "")
    for where, said in (
        (of_another_version(tmp_path / "older"), f"the daemon is csfs {csfs.__version__}, this command 0.0.9"),
        (asks_less, 'csfs invite is asked without "member"'),
    ):
        command = line(member, "invite", "gamma")
        ended = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (ExitCode.REFUSED, "", 1), ended.stderr
        assert said in ended.stderr
        assert CURE in ended.stderr
        now = datetime.datetime.now(datetime.UTC)
        assert [one.member for one in Invitations(member.home.keys).open(now)] == ["beta"], "nothing is done"
