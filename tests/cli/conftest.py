"""A host of its own for each test, and the command line run in this process."""

import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from csfs.cli.main import run
from csfs.config import home
from csfs.config.home import Home
from scripts.support import members

END_S_MAX = 10


@dataclass
class Ended:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


class Host:
    """One home; every command of a test runs in it."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home: Home = home.chosen(str(root))
        self._capture = capture

    def run(self, *arguments: str) -> Ended:
        self._capture.readouterr()
        code = run(["--home", str(self.home.root), *arguments])
        out, err = self._capture.readouterr()
        return Ended(code, out, err)

    def ok(self, *arguments: str) -> str:
        ended = self.run(*arguments)
        assert ended.code == 0, ended.err
        return ended.out

    def stop_daemon(self) -> None:
        """End the daemon, if one was started, and wait until it has."""
        try:
            process = os.pidfd_open(int(self.home.daemon_pid.read_text()))
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select([process], [], [], END_S_MAX)
        os.close(process)
        assert ended, f"the daemon does not end; see {self.home.daemon_log}"


@pytest.fixture
def host(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.delenv(home.VARIABLE, raising=False)
    made = Host(tmp_path / "h", capfd)
    yield made
    made.stop_daemon()


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return members.free_port()


@pytest.fixture
def second_port() -> int:
    """Another one."""
    return members.free_port()


@pytest.fixture
def member(host: Host, free_port: int) -> Host:
    """A host that is the only member of its cluster."""
    host.ok("init", "--member", "alpha", "--listen", f"127.0.0.1:{free_port}")
    return host
