"""Rights by ACLs at hosts where names have other numbers, or where nobody is called so."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import VOLUME, Member, cluster_of, free_port, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_versions import history

HOLD = 'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && echo && read -r _'
ROOT = "root:x:0:0:root:/root:/bin/sh"
TAKEN_UP_S = 30.0


class Host:
    """A member on a host with accounts of its own."""

    def __init__(self, base: Path, name: str, holder: int, accounts: Path) -> None:
        self.member = Member(base, name, free_port(), ("nsenter", f"--mount=/proc/{holder}/ns/mnt", "--wd=/"))
        self.tree = Path(f"/proc/{holder}/root") / self.member.tree.relative_to("/")
        self._accounts = accounts

    def has(self, **users: int) -> None:
        """From now on these are the accounts, root aside; each user has a group of his name and number."""
        lines = [ROOT, *(f"{name}:x:{number}:{number}::/:/bin/sh" for name, number in users.items())]
        (self._accounts / "passwd").write_text("\n".join(lines) + "\n")
        groups = ["root:x:0:", *(f"{name}:x:{number}:" for name, number in users.items())]
        (self._accounts / "group").write_text("\n".join(groups) + "\n")

    def gives(self, path: str, *options: str) -> None:
        """Change an ACL."""
        subprocess.run(["setfacl", *options, self.tree / path], check=True)

    def lists(self, path: str) -> list[str]:
        """Return an ACL with numbers; nothing of what is not there."""
        done = subprocess.run(["getfacl", "-ncp", self.tree / path], check=False, capture_output=True, text=True)
        return [line for line in done.stdout.splitlines() if line]

    def unrepresented(self) -> list[str]:
        return [f"{one['path'].removeprefix('/')}: {one['reason']}" for one in self.member.volume()["unrepresented"]]


@contextlib.contextmanager
def host(base: Path, name: str, **users: int) -> Iterator[Host]:
    accounts = base / f"accounts-{name}"
    accounts.mkdir(parents=True)
    for table in ("passwd", "group"):
        (accounts / table).touch()
    line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, "sh", str(accounts)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n", "nothing can be mounted over /etc/passwd here"
        one = Host(base, name, holder.pid, accounts)
        one.has(**users)
        try:
            yield one
        finally:
            one.member.stop()
            holder.stdin.close()


Hosts = tuple[Host, Host]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """At beta carol has the number that bob has at alpha, and nobody is called bob."""
    base = tmp_path_factory.mktemp("hosts")
    with (
        host(base, "alpha", bob=5005, carol=5006, eve=5007) as alpha,
        host(base, "beta", carol=5005) as beta,
        cluster_of(alpha.member, beta.member),
    ):
        yield alpha, beta
        expect_calm_logs(alpha.member, beta.member)


@pytest.fixture(autouse=True)
def accounts(hosts: Hosts) -> None:
    hosts[1].has(carol=5005)


def test_rights_go_by_name_and_whoever_has_the_number_of_somebody_unknown_gets_none(hosts: Hosts) -> None:
    alpha, beta = hosts
    (alpha.tree / "plan").write_text("secret")
    (alpha.tree / "plan").chmod(0o600)
    alpha.gives("plan", "-m", "u:5005:rw,u:5006:r,g:5005:r")
    alpha.member.wait()
    assert beta.lists("plan") == ["user::rw-", "user:5005:r--", "group::---", "mask::rw-", "other::---"]
    until(lambda: "plan: ACL: nobody here is group bob, user bob" in str(beta.unrepresented()), "status says so")
    # Whoever sees less of it changes no more of it than he means to.
    (beta.tree / "plan").chmod(0o640)
    beta.gives("plan", "-m", "u:5005:rw")
    (beta.tree / "plan").write_text("edited by somebody who sees less")
    beta.member.wait()
    assert alpha.lists("plan") == [
        "user::rw-", "user:5005:rw-", "user:5006:rw-", "group::---", "group:5005:r--", "mask::rw-", "other::---",
    ]  # fmt: skip
    assert (alpha.tree / "plan").read_text() == "edited by somebody who sees less"


def test_who_comes_to_be_known_gets_his_rights(hosts: Hosts) -> None:
    alpha, beta = hosts
    (alpha.tree / "directory").mkdir()
    alpha.gives("directory", "-m", "u:5005:rwx,d:u:5005:rwx")
    (alpha.tree / "directory/file").touch()
    alpha.member.wait()
    assert not any("500" in line for path in ("directory", "directory/file") for line in beta.lists(path))
    os.rename(beta.tree / "directory/file", beta.tree / "moved")
    beta.member.wait()
    before = beta.member.versions_made()
    beta.has(carol=5005, bob=6001)
    until(lambda: "user:6001:rwx" in beta.lists("directory"), "bob has his rights", TAKEN_UP_S)
    until(lambda: "default:user:6001:rwx" in beta.lists("directory"), "bob has his rights", TAKEN_UP_S)
    until(lambda: any("user:6001" in line for line in beta.lists("moved")), "also at another name", TAKEN_UP_S)
    until(lambda: not any("directory" in one for one in beta.unrepresented()), "status says nothing of it any more")
    beta.member.wait()
    assert beta.member.versions_made() == before, "what a host shows is nobody's change"
    assert "user:5005:rwx" in alpha.lists("directory")


def test_what_came_while_the_daemon_was_away_is_given_when_it_is_back(hosts: Hosts) -> None:
    alpha, beta = hosts
    (alpha.tree / "late").touch()
    alpha.gives("late", "-m", "u:5007:rw")
    alpha.member.wait()
    assert not any("5007" in line for line in beta.lists("late"))
    beta.member.stop_daemon()
    beta.has(carol=5005, eve=6007)
    beta.member.start_daemon()
    until(lambda: "user:6007:rw-" in beta.lists("late"), "eve has her rights", 60)


def test_a_number_without_a_name_goes_as_it_is(hosts: Hosts) -> None:
    alpha, beta = hosts
    (alpha.tree / "number").touch()
    alpha.gives("number", "-m", "u:7777:rw")
    alpha.member.wait()
    assert "user:7777:rw-" in beta.lists("number")


def test_versions_are_compared_and_restored_with_their_rights(hosts: Hosts) -> None:
    alpha, beta = hosts
    path = alpha.tree / "versions"
    path.write_text("one")
    alpha.gives("versions", "-m", "u:5006:rw")
    alpha.member.wait()
    (beta.tree / "new").write_text("two, at beta, where nobody has rights")
    os.rename(beta.tree / "new", beta.tree / "versions")
    beta.member.wait()
    assert not any("5006" in line for line in alpha.lists("versions"))
    kept = history(alpha.member, "versions")[1]
    assert "user:carol:rw-" in kept["acl"]
    version = f"{alpha.member.tree / 'versions'}@{kept['version']}"
    different = alpha.member.csfs("diff", str(alpha.member.tree / "versions"), kept["version"], check=False).stdout
    assert "user:carol:rw-" in different
    alpha.member.csfs("restore", version)
    alpha.member.wait()
    assert path.read_text() == "one"
    assert "user:5006:rw-" in alpha.lists("versions")
    until(lambda: "user:5005:rw-" in beta.lists("versions"), "they are restored everywhere")


def test_where_owners_go_by_number_rights_do(hosts: Hosts) -> None:
    alpha, beta = hosts
    settings = alpha.member.home.settings_file
    before = settings.read_text()
    settings.write_text(before.replace(f"[volumes.{VOLUME}]", f'[volumes.{VOLUME}]\nowners = "numeric"'))
    alpha.member.csfs("config", "reload")
    until(lambda: "numeric" in beta.member.home.settings_file.read_text(), "beta has the configuration")
    (alpha.tree / "numeric").touch()
    alpha.gives("numeric", "-m", "u:5005:rw,g:5006:r")
    until(lambda: "user:5005:rw-" in beta.lists("numeric"), "rights go by number")
    assert "group:5006:r--" in beta.lists("numeric")
    assert not any(one.startswith("numeric") for one in beta.unrepresented())
