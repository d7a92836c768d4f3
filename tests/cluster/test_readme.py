"""What README says of two hosts in five minutes, done to the letter: each in a network and a mount namespace of its own."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import until
from tests.cluster.networks import network

TOP = Path(__file__).parent.parent.parent
SECTION = "## Two hosts in five minutes"
# What a host has of its own; the rest of the file system is everybody's. The host's own places stay as they are.
SETUP = """
set -e
for name in etc var; do
    mkdir -p "$0/upper/$name" "$0/work/$name"
    mount -t overlay -o "lowerdir=/$name,upperdir=$0/upper/$name,workdir=$0/work/$name" overlay "/$name"
done
mount -t tmpfs none /run
mkdir -p /etc/csfs /var/lib/csfs /var/www
for name in /etc/csfs /var/lib/csfs /var/www; do mount -t tmpfs none "$name"; done
echo ready
exec cat
"""
WATCH_S = "2"


class ReadHost:
    """A host on which README is followed."""

    def __init__(self, base: Path, prefix: tuple[str, ...]) -> None:
        line = [*prefix, "unshare", "--mount", "--propagation", "private", "sh", "-c", SETUP, str(base)]
        self._prefix = prefix
        self._holder = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    def shell(self, program: str) -> subprocess.CompletedProcess[str]:
        """Run what README writes for a shell."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        line = [*self._prefix, "nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--wd=/", "sh", "-ec", program]
        return subprocess.run(
            line, capture_output=True, text=True, timeout=60, check=False, env=os.environ | {"PATH": path}
        )

    def ok(self, program: str) -> str:
        done = self.shell(program)
        assert done.returncode == 0, (program, done.stderr)
        return done.stdout

    def close(self) -> None:
        self.shell("csfs umount --always /var/www; csfs daemon --stop")
        self._holder.communicate()


@contextlib.contextmanager
def host(base: Path, prefix: tuple[str, ...]) -> Iterator[ReadHost]:
    """Give a host."""
    made = ReadHost(base, prefix)
    try:
        yield made
    finally:
        made.close()


def blocks() -> list[str]:
    """Return the examples of the section, in order."""
    section = (TOP / "README.md").read_text().partition(SECTION)[2].partition("\n### ")[0]
    return re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)


def test_what_is_installed_is_there() -> None:
    named = re.findall(r"\betc/\S+", blocks()[0])
    assert len(named) == 4
    assert [pattern for pattern in named if not list(TOP.glob(pattern))] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_two_hosts_are_equal_after_what_readme_says(tmp_path: Path) -> None:
    _, first, second = blocks()
    assert "csfs invite beta" in first
    assert "TOKEN" in second
    with (
        network() as cable,
        host(tmp_path / "a", cable.prefixes[0]) as alpha,
        host(tmp_path / "b", cable.prefixes[1]) as beta,
    ):
        alpha.ok("mkdir /var/www/html; echo ours >/var/www/html/index.html; echo alpha >/var/www/both")
        beta.ok("echo beta >/var/www/both; echo mine >/var/www/extra")
        token = alpha.ok(first).strip()
        shown = beta.ok(
            second.replace("TOKEN", token).replace(
                "csfs status --watch", f"timeout -s INT {WATCH_S} csfs status --watch || true"
            )
        )
        assert "alpha" in shown
        assert "replicating" in shown
        assert beta.ok("cat /var/www/html/index.html /var/www/both /var/www/extra") == "ours\nalpha\nmine\n"
        assert "lost against alpha" in beta.ok("csfs history /var/www/both")
        beta.ok("echo theirs >/var/www/html/new; chmod 640 /var/www/html/new; csfs wait")
        assert alpha.ok("cat /var/www/html/new; stat -c %a /var/www/html/new") == "theirs\n640\n"
        assert alpha.shell("test -e /var/www/extra").returncode == 1, "what only the second has stays there"
        until(lambda: alpha.shell("csfs status").returncode == 0, "all is well")
