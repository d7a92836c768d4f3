"""Commands that need a daemon start one, and tell why it does not start."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.cli import starting
from csfs.config import files
from csfs.errors import NotRunningError
from scripts.support.members import until
from tests.cli.conftest import Host

pytestmark = pytest.mark.cluster


def test_invite_starts_the_daemon_and_prints_the_token_alone(member: Host) -> None:
    assert member.run("status").code == 6
    ended = member.run("invite", "beta", "--expires", "10m")
    assert ended.code == 0
    assert ended.out.strip().isalnum()
    assert "csfs join 127.0.0.1:" in ended.err
    status = json.loads(member.ok("status", "--json"))
    assert (status["member"], status["volumes"]) == ("alpha", [])
    assert starting.ensure_daemon(member.home) is False
    assert f"PPid:\t{os.getpid()}\n" not in Path(f"/proc/{status['pid']}/status").read_text()


def test_a_daemon_is_stopped_by_command(member: Host) -> None:
    assert member.run("daemon", "--stop").code == 6
    member.ok("invite", "beta")
    process = os.pidfd_open(json.loads(member.ok("status", "--json"))["pid"])
    assert member.ok("daemon", "--stop") == ""
    assert select.select([process], [], [], 0)[0], "it has ended"
    os.close(process)
    assert (member.run("status").code, member.run("daemon", "--stop").code) == (6, 6)
    assert member.home.daemon_pid.exists(), "nobody is killed for the number that it has left"


def test_a_volume_that_was_removed_is_not_in_the_status_any_more(member: Host, tmp_path: Path) -> None:
    member.ok("invite", "beta")
    for name in ("v", "w"):
        (tmp_path / name).mkdir()
        member.ok("volume", "add", name, str(tmp_path / name))
    member.ok("volume", "remove", "v")
    status = json.loads(member.ok("status", "--json"))
    assert [volume["name"] for volume in status["volumes"]] == ["w"]
    ended = member.run("wait")
    assert (ended.code, ended.out) == (6, "")
    assert f"csfs mount {tmp_path / 'w'}" in ended.err


def test_a_daemon_that_cannot_start_says_why(host: Host) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        host.ok("init", "--member", "alpha", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        ended = host.run("invite", "beta")
    assert ended.code == 6
    assert ended.err.startswith("csfs: the daemon did not start: ")
    assert "listens there already" in ended.err


def test_commands_that_start_it_at_the_same_time_share_one_daemon(member: Host) -> None:
    command = [sys.executable, "-m", "csfs.cli.main", *member.home.arguments, "invite"]
    running = [subprocess.Popen([*command, name], stdout=subprocess.PIPE) for name in ("beta", "gamma", "delta")]
    tokens = {process.communicate(timeout=30)[0] for process in running}
    assert len(tokens) == 3
    assert [process.returncode for process in running] == [0, 0, 0]


def test_who_is_interrupted_while_the_daemon_starts_leaves_none(member: Host) -> None:
    command = [sys.executable, "-m", "csfs.cli.main", *member.home.arguments, "invite", "beta"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: member.home.daemon_log.exists(), "the daemon is being started")
        until(lambda: _started_daemons(member) != [], "it has begun")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "csfs: interrupted\n")
    assert process.returncode == 130
    assert _started_daemons(member) == []


def _started_daemons(member: Host) -> list[str]:
    """Return the process ids of all daemons of a home."""
    wanted = b"\0".join(os.fsencode(word) for word in (*member.home.arguments, "daemon", ""))
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if line.read_bytes().endswith(wanted):
                found.append(line.parent.name)
    return found


def test_a_broken_configuration_is_what_the_daemon_complains_of(member: Host) -> None:
    member.home.settings_file.write_text("cluster = 3\n")
    with pytest.raises(NotRunningError, match="cluster: must be a string"):
        starting.ensure_daemon(member.home)


@pytest.fixture
def guest(tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]) -> Iterator[Host]:
    """A second host, that is no member yet."""
    made = Host(tmp_path_factory.mktemp("guest"), capfd)
    yield made
    made.stop_daemon()


def test_join_makes_a_member_with_one_token(member: Host, guest: Host, tmp_path: Path, second_port: int) -> None:
    (tmp_path / "v").mkdir()
    member.ok("volume", "add", "v", str(tmp_path / "v"))
    token = member.ok("invite", "beta").strip()
    (inviter,) = json.loads(member.ok("config", "show", "--json"))["members"]["alpha"]
    joining = ["join", inviter, token, "--listen", f"127.0.0.1:{second_port}", "--path", "v=/srv/v", "--extra", "add"]
    guest.ok(*joining)
    settings, here = files.loaded_both(guest.home)
    assert (here.member, settings.member_names) == ("beta", ("alpha", "beta"))
    assert settings.volume("v").path_of("beta") == "/srv/v"
    assert guest.home.extra("v").read_text() == "add\n"
    assert sorted(os.listdir(guest.home.etc)) == ["csfs.toml", "keys", "member.toml"]
    assert json.loads(guest.ok("status", "--json"))["member"] == "beta"
    again = guest.run(*joining)
    assert (again.code, "a member already" in again.err) == (3, True)


def test_who_joins_may_listen_nowhere_and_calls_the_others(member: Host, guest: Host) -> None:
    token = member.ok("invite", "beta").strip()
    (inviter,) = json.loads(member.ok("config", "show", "--json"))["members"]["alpha"]
    guest.ok("join", inviter, token, "--listen", "off")
    settings, here = files.loaded_both(guest.home)
    assert (here.listen, settings.member("beta").address) == ((), ())
    for host in (member, guest):
        until(lambda h=host: json.loads(h.ok("status", "--json"))["peers"][0]["connected"], "they are connected")  # type: ignore[misc]
    assert json.loads(guest.ok("config", "show", "--json"))["listen"] == []


def test_a_join_that_is_refused_leaves_the_host_as_it_was(member: Host, guest: Host) -> None:
    member.ok("invite", "beta")
    (inviter,) = json.loads(member.ok("config", "show", "--json"))["members"]["alpha"]
    assert guest.run("join", inviter, "nonsense").code == 3
    assert not guest.home.settings_file.exists()
    assert not guest.home.keys.exists()
