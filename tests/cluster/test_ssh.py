"""Members that reach each other by ssh: a real sshd where there is one, keys that may do nothing else, and nobody listens but it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import Member, cluster_of, free_port, replicating, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_versions import write

SSHD = Path("/usr/sbin/sshd")
STAND_IN = """#!/bin/sh
command=$(sed -n 's/^command="\\([^"]*\\)".*/\\1/p' {directory}/authorized_keys)
test -n "$command" || {{ echo 'root@127.0.0.1: Permission denied (publickey).' >&2; exit 255; }}
exec sh -c "$command"
"""
"""Does what sshd does with such keys, on a host that has none."""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """Give a directory with a file authorized_keys, which a running sshd goes by, and its port; `ssh` in it uses the key `key`."""
    directory, port = tmp_path_factory.mktemp("ssh"), free_port()
    directory.chmod(0o755)
    ssh = directory / "ssh"
    if not SSHD.exists():
        (directory / "key.pub").write_text("key")
        ssh.write_text(STAND_IN.format(directory=directory))
        ssh.chmod(0o755)
        yield directory, port
        return
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    (directory / "known").write_text(f"[127.0.0.1]:{port} {(directory / 'host.pub').read_text()}")
    (directory / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized_keys\n"
        f"PidFile {directory}/pid\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n"
    )
    options = f"-F none -i {directory}/key -o IdentitiesOnly=yes -o UserKnownHostsFile={directory}/known"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {options} "$@"\n')
    ssh.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen([SSHD, "-D", "-f", directory / "sshd_config", "-E", directory / "log"]) as server:
        try:
            until(lambda: "Server listening" in (directory / "log").read_text(), "sshd listens")
            yield directory, port
        finally:
            server.terminate()


def lets_in(directory: Path, command: str) -> None:
    """Let the key in, for this command alone."""
    key = (directory / "key.pub").read_text()
    (directory / "authorized_keys").write_text(f'command="{command}",restrict {key}')


@pytest.fixture(scope="module")
def by_ssh(sshd: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members; alpha calls beta by ssh, beta listens nowhere, and nobody can call alpha."""
    directory, port = sshd
    base = tmp_path_factory.mktemp("members") / "m"
    alpha, beta = (Member(base, name, free_port()) for name in ("alpha", "beta"))
    path = os.environ["PATH"]
    with cluster_of(alpha, beta, mounted=False):
        lets_in(
            directory,
            " ".join(beta.command("relay")).replace(sys.executable, f"PYTHONPATH={os.getcwd()} {sys.executable}"),
        )
        settings = alpha.home.settings_file
        text = re.sub(rf"^address = .*{re.escape(alpha.address)}.*\n", "", settings.read_text(), flags=re.M)
        assert beta.address in text
        text = text.replace(beta.address, f"ssh://root@127.0.0.1:{port}")
        for member in (alpha, beta):
            member.stop_daemon()
            member.home.settings_file.write_text(text)
        host = beta.home.member_file
        host.write_text(re.sub(r"^listen = .*$", 'listen = "off"', host.read_text(), flags=re.M))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{directory}:{path}")
            for member in (alpha, beta):
                member.start_daemon()
                member.mount()
            replicating(alpha, beta)
            yield alpha, beta
            expect_calm_logs(alpha, beta)


def test_two_members_replicate_by_ssh_alone(by_ssh: tuple[Member, Member], sshd: tuple[Path, int]) -> None:
    alpha, beta = by_ssh
    write(alpha.tree / "from alpha", "alpha\n")
    write(beta.tree / "from beta", "beta\n")
    (alpha.tree / "large").write_bytes(os.urandom(8 << 20))
    for member in by_ssh:
        member.wait()
    assert (beta.tree / "from alpha").read_text() == "alpha\n"
    assert (alpha.tree / "from beta").read_text() == "beta\n"
    assert (beta.tree / "large").read_bytes() == (alpha.tree / "large").read_bytes()
    assert alpha.peer()["address"] == f"ssh://root@127.0.0.1:{sshd[1]}"
    assert beta.peer()["address"] == "ssh"
    assert listening(beta) == []


def listening(member: Member) -> list[str]:
    """Return the addresses on which a member's daemon listens for connections by TCP."""
    said = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if f"pid={member.daemon_pid}," in line]


def test_what_ends_in_the_middle_is_called_again(by_ssh: tuple[Member, Member]) -> None:
    alpha, beta = by_ssh
    beta.kill_daemon()
    until(lambda: not alpha.peer()["connected"], "alpha notices")
    write(alpha.tree / "meanwhile", "written\n")
    until(lambda: "no daemon runs" in alpha.peer()["error"], "alpha says what is wrong there")
    beta.start_daemon()
    replicating(alpha, beta)
    assert (beta.tree / "meanwhile").read_text() == "written\n"
    relays = [line for line in processes() if str(beta.home.root) in line and "relay" in line]
    assert len(relays) == 1, relays
    alpha.stop_daemon()
    until(lambda: not [line for line in processes() if str(beta.home.root) in line and "relay" in line], "it ended")
    alpha.start_daemon()
    replicating(alpha, beta)


def processes() -> list[str]:
    """Return the command lines of all processes."""
    found = []
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            found.append((directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if line and not line.startswith(("sshd", "sh -c "))]


def test_what_ssh_complains_of_is_told(by_ssh: tuple[Member, Member], sshd: tuple[Path, int]) -> None:
    alpha, beta = by_ssh
    directory, _ = sshd
    keys = directory / "authorized_keys"
    before = keys.read_text()
    keys.write_text("")
    alpha.stop_daemon()
    alpha.start_daemon()
    until(lambda: "permission denied" in alpha.peer()["error"], "alpha says why")
    keys.write_text(before)
    replicating(alpha, beta)


def test_a_stranger_who_comes_by_ssh_is_one(by_ssh: tuple[Member, Member]) -> None:
    """ssh lets him in; who he is, TLS asks."""
    _, beta = by_ssh
    done = subprocess.run(
        beta.command("relay"), input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0
    until(lambda: "refused a connection from ssh: " in beta.home.daemon_log.read_text(), "beta says so")
