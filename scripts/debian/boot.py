"""Boots a Debian root whose /etc and /var/www are volumes, by the units in etc/systemd and a line of fstab, and troubles it."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from scripts.debian.container import Container, booted
from scripts.debian.root import chroot, mounts, unpacked
from scripts.debian.steps import Steps, until

TOP = Path(__file__).parent.parent.parent
BINARIES = {"csfs": "usr/bin", "mount.csfs": "usr/sbin", "mount.fuse.csfs": "usr/sbin"}
UNITS = "usr/lib/systemd/system"
ETC_UNIT = "csfs-mount@etc.service"
SERVED = "csfs:etc"

# An ordinary service, and one with mounts of its own: each must find /etc in working order all the time.
GUESTS = {
    "guest.service": "WorkingDirectory=/var/www",
    "confined.service": "ProtectSystem=full\nPrivateTmp=yes",
}
GUEST = """[Unit]
Description=a program that reads /etc
[Service]
{settings}
ExecStart=/bin/sh -c 'while sleep 0.05; do echo "$$(cat /etc/beat 2>&1)" >/run/{name}; done'
[Install]
WantedBy=multi-user.target
"""
BOOT_S_MAX = 90.0
DOWN_S_MAX = 75.0
"""A mount process that stands still is killed after 35 s; before that nobody can look into /etc."""


def prepare(root: Path) -> None:
    """Install csfs and its units, and make both directories volumes."""
    for name, directory in BINARIES.items():
        (root / directory / name).symlink_to(TOP / ".venv/bin" / name)
    for unit in (TOP / "etc/systemd").iterdir():
        shutil.copy(unit, root / UNITS / unit.name)
    for name, settings in GUESTS.items():
        (root / UNITS / name).write_text(GUEST.format(name=name, settings=settings))
    (root / "etc/beat").write_text("whole\n")
    (root / "etc/fstab").write_text("csfs:www /var/www csfs _netdev,nofail 0 0\n")
    (root / "var/www").mkdir()
    (root / "var/log/journal").mkdir(exist_ok=True)
    share = root / TOP.relative_to("/")
    share.mkdir(parents=True)
    with mounts(root):
        subprocess.run(["mount", "--bind", str(TOP), str(share)], check=True)
        try:
            chroot(root, "csfs", "init", "--member", "alpha", "--listen", "127.0.0.1:30866")
            chroot(root, "csfs", "volume", "add", "etc", "/etc", "--profile", "etc")
            chroot(root, "csfs", "volume", "add", "www", "/var/www")
            chroot(root, "systemctl", "enable", "csfs-daemon.service", ETC_UNIT, *GUESTS)
        finally:
            subprocess.run(["umount", "-l", str(share)], check=True)


class Host:
    """The booted root, as an administrator sees it."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.ok = container.ok

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.ok("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def failed(self) -> list[str]:
        """Return the units that failed."""
        return [line.split()[0] for line in self.ok("systemctl", "--failed", "--plain", "--no-legend").splitlines()]

    def source_of(self, directory: str) -> str:
        """Return what is mounted at a directory, as mountinfo says."""
        return self.container.run("findmnt", "-n", "-o", "SOURCE", "--mountpoint", directory).stdout.strip()

    def pids_of(self, volume: str) -> tuple[int, int]:
        """Return parent and mount process."""
        parent, child = self.ok("cat", f"/run/csfs/mount-{volume}.pid").split()
        return int(parent), int(child)

    def kill(self, number: signal.Signals, *pids: int) -> None:
        """Send a signal to processes of the root."""
        self.ok("kill", f"-{number.value}", *map(str, pids))

    def expect_served(self, timeout_s: float = 20.0) -> None:
        """Both volumes are mounted and answer, and every guest reads what it should, as often as it looks."""
        until(lambda: self.source_of("/etc") == SERVED, "/etc is mounted", timeout_s)
        until(lambda: self.source_of("/var/www") == "csfs:www", "/var/www is mounted", timeout_s)
        until(lambda: self.container.run("csfs", "status").returncode == 0, "the daemon answers", timeout_s)
        self.expect_guests()

    def expect_guests(self, guests: Iterable[str] = GUESTS) -> None:
        """The guests read what is in /etc now."""
        word = f"{time.monotonic_ns()}"
        self.ok("sh", "-c", f"echo {word} >/etc/beat")
        for guest in guests:
            until(lambda g=guest: self._said(g) == word, f"{guest} reads /etc (it said: {self._said(guest)})", 10)  # type: ignore[misc]

    def _said(self, guest: str) -> str:
        return self.container.run("cat", f"/run/{guest}").stdout.strip()


def comes_up(steps: Steps, host: Host) -> None:
    with steps.step("boots, and the host is up", BOOT_S_MAX):
        until(
            lambda: host.container.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"),
            "up",
            90,
        )
    with steps.step("no unit failed"):
        assert host.failed() == []
    with steps.step("/etc and /var/www are mounted, the daemon answers, services read"):
        host.expect_served()
    with steps.step("/etc was mounted after local-fs.target and before basic.target"):
        times = [
            int(host.shown(unit, "ActiveEnterTimestampMonotonic"))
            for unit in ("local-fs.target", ETC_UNIT, "basic.target", "csfs-daemon.service")
        ]
        assert times == sorted(times), times
        took = times[1] - int(host.shown(ETC_UNIT, "InactiveExitTimestampMonotonic"))
        print(f"    mounting /etc took {took / 1e6:.2f} s of the boot")


def is_administered(steps: Steps, host: Host) -> None:
    with steps.step("systemctl daemon-reload, five times", 20):
        for _ in range(5):
            host.ok("systemctl", "daemon-reload")
    with steps.step("systemctl daemon-reexec", 20):
        host.ok("systemctl", "daemon-reexec")
        host.expect_served()
    with steps.step("a unit is made, enabled, started and removed below /etc"):
        host.ok("sh", "-c", "printf '[Service]\\nExecStart=/bin/sleep 60\\n' >/etc/systemd/system/made.service")
        host.ok("systemctl", "daemon-reload")
        host.ok("systemctl", "start", "made.service")
        host.ok("systemctl", "stop", "made.service")
        host.ok("rm", "/etc/systemd/system/made.service")
    with steps.step("services are restarted: dbus, journald, logind, guests", 30):
        for unit in ("systemd-journald", "systemd-logind", "dbus", *GUESTS):
            host.ok("systemctl", "restart", unit)
        host.expect_served()
    with steps.step("the daemon is restarted, the mounts stay", 30):
        before = host.pids_of("etc"), host.pids_of("www")
        host.ok("systemctl", "restart", "csfs-daemon")
        host.expect_served()
        assert (host.pids_of("etc"), host.pids_of("www")) == before
    with steps.step("csfs mount has systemd start the daemon", 30):
        host.ok("systemctl", "stop", "csfs-daemon", "guest.service")
        host.ok("umount", "/var/www")
        host.ok("csfs", "mount", "/var/www")
        assert host.shown("csfs-daemon", "ActiveState") == "active"
        host.ok("systemctl", "start", "guest.service")
        host.expect_served()
    with steps.step("systemctl stop csfs-mount@etc: the plain directory is there", 15):
        host.ok("systemctl", "stop", ETC_UNIT)
        assert host.source_of("/etc") == ""
        host.expect_guests()
    with steps.step("systemctl start csfs-mount@etc", 15):
        host.ok("systemctl", "start", ETC_UNIT)
        host.expect_served()
    with steps.step("fstab: stop and start of var-www.mount, umount, mount -a, remount", 30):
        host.ok("systemctl", "stop", "guest.service", "var-www.mount")
        assert host.source_of("/var/www") == ""
        host.ok("systemctl", "start", "var-www.mount")
        host.ok("umount", "/var/www")
        host.ok("mount", "-a")
        host.ok("mount", "-o", "remount,ro", "/var/www")
        assert host.container.run("touch", "/var/www/new").returncode == 1
        host.ok("mount", "-o", "remount,rw", "/var/www")
        host.ok("systemctl", "start", "guest.service")
        host.expect_served()


def is_troubled(steps: Steps, host: Host) -> None:
    def killed(what: str, volume: str, *which: int) -> None:
        with steps.step(f"kill -9 of {what}: all is served again", 20):
            before = host.pids_of(volume)
            host.kill(signal.SIGKILL, *(before[one] for one in which))
            begun = time.monotonic()
            until(lambda: host.container.run("cat", f"/{volume}/beat").returncode == 0, "the directory answers")
            print(f"    the directory answered again after {time.monotonic() - begun:.2f} s")
            until(lambda: host.pids_of(volume)[1] != before[1], "another mount process serves")
            host.expect_served()

    killed("the mount process of /etc", "etc", 1)
    killed("the parent of /etc", "etc", 0)
    killed("both processes of /etc", "etc", 0, 1)
    killed("the mount process of /etc, again", "etc", 1)
    with steps.step("kill -9 of the daemon: all is served again", 20):
        host.kill(signal.SIGKILL, int(host.shown("csfs-daemon", "MainPID")))
        host.expect_served()
    with steps.step("kill -9 of the mount process of /var/www: all is served again", 20):
        before = host.pids_of("www")
        host.kill(signal.SIGKILL, before[1])
        until(lambda: host.pids_of("www")[1] != before[1], "another mount process serves")
        host.expect_served()
    with steps.step("kill -9 of both processes of /var/www: csfs mount mends it", 20):
        host.kill(signal.SIGKILL, *host.pids_of("www"))
        host.ok("csfs", "mount", "/var/www")
        host.ok("systemctl", "restart", "guest.service")
        host.expect_served()


def goes_down(steps: Steps, host: Host, how: str) -> None:
    with steps.step(f"shuts down {how}", DOWN_S_MAX):
        host.container.run("systemctl", "poweroff", timeout_s=DOWN_S_MAX)
        host.container.wait_gone()


def is_held(steps: Steps, host: Host) -> None:
    """Programs hold both directories, which no unit's stop ends before its mount's."""
    is_troubled(steps, host)
    for directory in ("/etc", "/var/www"):
        line = ["systemd-run", "--property=DefaultDependencies=no", f"--working-directory={directory}"]
        host.ok(*line, "sleep", "1000")


def comes_up_plain(steps: Steps, root: Path) -> None:
    """With a configuration that cannot be used, the host comes up with plain directories, and goes down again."""
    settings = root / "etc/csfs/csfs.toml"
    before = settings.read_text()
    settings.write_text("cluster = 3\n")
    with booted(root, TOP) as container:
        host = Host(container)
        with steps.step("boots, and the host is up", BOOT_S_MAX):
            until(
                lambda: container.run("systemctl", "is-system-running").stdout.strip() == "degraded", "up", BOOT_S_MAX
            )
        with steps.step("the units of csfs failed, the directories are plain, services read"):
            wanted = {ETC_UNIT, "csfs-daemon.service", "var-www.mount"}
            until(lambda: set(host.failed()) == wanted, f"{', '.join(sorted(wanted))} failed, and nothing else")
            assert (host.source_of("/etc"), host.source_of("/var/www")) == ("", "")
            host.expect_guests(["confined.service"])  # the other one needs /var/www, so systemd does not start it
        goes_down(steps, host, "in good order")
    settings.write_text(before)


def hangs(steps: Steps, host: Host) -> None:
    """Nobody answers in /etc any more, nor does the daemon."""
    host.kill(signal.SIGSTOP, host.pids_of("etc")[1], int(host.shown("csfs-daemon", "MainPID")))


BOOTS = (
    ("administered", is_administered, "in good order"),
    ("troubled", is_held, "while programs hold both directories"),
    ("hung", hangs, "while the mount of /etc and the daemon hang"),
)
"""Boots: what each is called, what is done, and how the host is when it goes down."""


def journal(root: Path, lines: int) -> str:
    """Return what csfs has logged since the last boot."""
    units = [argument for unit in ("csfs-daemon", "csfs-mount@etc", "var-www.mount") for argument in ("-u", unit)]
    line = ["journalctl", "-D", str(root / "var/log/journal"), "-b", "-o", "short-monotonic", "--no-hostname", *units]
    shown = subprocess.run(line, capture_output=True, text=True, check=False).stdout.splitlines()
    return "\n".join(f"    {text}" for text in shown[-lines:])


def main() -> int:
    """Run the scenario; 0 if all of it went well."""
    parser = argparse.ArgumentParser(prog="scripts/boot", description=__doc__)
    parser.add_argument(
        "--log", type=int, default=0, metavar="LINES", help="print so many lines of the journal of each boot"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind then either
    steps = Steps()
    with unpacked() as root:
        prepare(root)
        for name, trouble, how in BOOTS:
            print(f"\n== {name}", flush=True)
            with booted(root, TOP) as container:
                host = Host(container)
                comes_up(steps, host)
                trouble(steps, host)
                goes_down(steps, host, how)
            with steps.step("the plain /etc underneath has what was written last"):
                assert (root / "etc/beat").read_text().strip().isdigit()
                assert os.listdir(root / "var/www") == [".csfs"]
            if arguments.log:
                print(journal(root, arguments.log), flush=True)
        print("\n== broken configuration", flush=True)
        comes_up_plain(steps, root)
        if arguments.log:
            print(journal(root, arguments.log), flush=True)
    return steps.summary()


if __name__ == "__main__":
    sys.exit(main())
