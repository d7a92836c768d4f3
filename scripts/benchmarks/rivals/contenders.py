"""What is compared: how each is set up between two hosts, as its manual recommends for changes that should arrive soon."""

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks.rivals.hosts import Host, Pair
from scripts.support.members import Member, cluster_of, replicating, until

READY_S_MAX = 60.0
TRIGGER = """
inotifywait -m -r -q -e close_write,create,delete,move,attrib "$1" | while read -r _; do
    while read -r -t 0.01 _; do :; done
    shift_command
done
"""
"""Runs a command when something changes below a directory, and once for all that changed meanwhile."""


class Contender(ABC):
    """One way to keep two directories the same; this one works on ordinary directories.

    `writes` is where the source's programs work, `shows` where the target's look; `stored` has the files of both on disk, where to
    look costs the contender nothing.
    """

    name = ""
    needs: tuple[str, ...] = ()
    """Commands without which it is left out."""
    keeps_owners = True
    """Whether owner and group are expected at the target."""

    def __init__(self) -> None:
        self._pair: Pair | None = None

    @property
    def pair(self) -> Pair:
        """The hosts."""
        assert self._pair is not None, "not begun"
        return self._pair

    def begin(self, pair: Pair) -> None:
        """Set it up and start it."""
        self._pair = pair
        self.set_up(*pair.both)

    @abstractmethod
    def set_up(self, source: Host, target: Host) -> None:
        """Write configurations and start services."""

    def end(self) -> None:  # noqa: B027 - not abstract: this is all that most need
        """Nothing but processes is left, and those end with the hosts."""

    @property
    def writes(self) -> Path:
        """Return where the source's programs work."""
        return self.pair.source.tree

    @property
    def shows(self) -> Path:
        """Return where the target's programs look."""
        return self.pair.target.tree

    @property
    def stored(self) -> tuple[Path, Path]:
        """Return where the files are on disk."""
        return self.pair.source.tree, self.pair.target.tree


class Csfs(Contender):
    """csfs as it comes: two members, each with a mount."""

    name = "csfs"

    def set_up(self, source: Host, target: Host) -> None:
        """Make a cluster of two."""
        self._members = [
            Member(host.directory.parent, host.name, 30866, host.prefix, host.address) for host in (source, target)
        ]
        self._cluster = cluster_of(*self._members, clear=False)
        self._cluster.__enter__()
        replicating(*self._members)

    def end(self) -> None:
        """Unmount, and end the daemons."""
        self._cluster.__exit__(None, None, None)

    @property
    def stored(self) -> tuple[Path, Path]:
        """Return the directories underneath."""
        return self._members[0].underneath, self._members[1].underneath


class Csync2(Contender):
    """csync2 without TLS, started by inotify."""

    name = "csync2 + inotify"
    needs = ("csync2", "inotifywait")

    def set_up(self, source: Host, target: Host) -> None:
        """One group, its listener on both hosts, and a trigger on the source."""
        trees = "".join(f"    on {host.address}: {host.tree};\n" for host in (source, target))
        hosts = f"{source.address} {target.address}"
        for host in (source, target):
            system = host.directory / "csync2"
            system.mkdir()
            (system / "key").write_text("0123456789" * 6 + "\n")
            (system / "csync2.cfg").write_text(
                f"nossl * *;\nprefix place\n{{\n{trees}}}\n"
                f"group compared\n{{\n    host {hosts};\n    key {system}/key;\n    include %place%;\n    auto younger;\n}}\n"
            )
        target.start(*self._line(target, "-ii"), CSYNC2_SYSTEM_DIR=str(target.directory / "csync2"))
        source.run(*self._line(source, "-cIr"), CSYNC2_SYSTEM_DIR=str(source.directory / "csync2"), check=False)
        _start_trigger(source, self._line(source, "-x"), CSYNC2_SYSTEM_DIR=str(source.directory / "csync2"))

    def _line(self, host: Host, *flags: str) -> tuple[str, ...]:
        # Hosts are named by their addresses: csync2 looks up the name that it is given as its own.
        return ("csync2", "-p", "30865", "-N", host.address, "-D", str(host.directory / "csync2"), *flags)


class Lsyncd(Contender):
    """lsyncd with rsync over ssh, one way, a second's delay."""

    name = "lsyncd + rsync"
    needs = ("lsyncd", "rsync", "sshd")

    def set_up(self, source: Host, target: Host) -> None:
        """An ssh server on the target, lsyncd on the source."""
        shell = _start_ssh(source, target)
        configuration = source.directory / "lsyncd.lua"
        configuration.write_text(
            'settings { nodaemon = true, inotifyMode = "CloseWrite or Modify" }\n'
            f'sync {{ default.rsync, source = "{source.tree}", target = "root@{target.address}:{target.tree}", delay = 1,\n'
            f'    rsync = {{ archive = true, rsh = "{shell}" }} }}\n'
        )
        source.start("lsyncd", str(configuration))


class Unison(Contender):
    """Unison over ssh, both ways, started by inotify."""

    name = "Unison + inotify"
    needs = ("unison", "inotifywait", "sshd")

    def set_up(self, source: Host, target: Host) -> None:
        """An ssh server on the target, a trigger on the source."""
        shell, *arguments = _start_ssh(source, target).split()
        home = source.directory / "unison"
        other = f"ssh://root@{target.address}/{target.tree}"
        options = (
            "-batch",
            "-auto",
            "-times",
            "-owner",
            "-group",
            "-perms",
            "-1",
            "-confirmbigdel=false",
            "-fastcheck",
            "true",
        )
        line = ("unison", str(source.tree), other, *options, "-sshcmd", shell, "-sshargs", " ".join(arguments))
        source.run(*line, UNISON=str(home))
        _start_trigger(source, line, UNISON=str(home))


class Syncthing(Contender):
    """Syncthing, its watcher's delay shortened from ten seconds to one."""

    name = "Syncthing"
    keeps_owners = False
    needs = ("syncthing",)

    def set_up(self, source: Host, target: Host) -> None:
        """One folder, known addresses, nothing announced."""
        homes = {host.name: host.directory / "syncthing" for host in (source, target)}
        for host in (source, target):
            host.run(
                "syncthing", "generate", "--no-default-folder", "--skip-port-probing", "--home", str(homes[host.name])
            )
        devices = {
            host.name: host.run("syncthing", "--device-id", "--home", str(homes[host.name])).strip()
            for host in (source, target)
        }
        listed = "".join(
            f'<device id="{devices[host.name]}" name="{host.name}"><address>tcp://{host.address}:22000</address></device>'
            for host in (source, target)
        )
        members = "".join(f'<device id="{device}"></device>' for device in devices.values())
        for host in (source, target):
            (homes[host.name] / "config.xml").write_text(
                f'<configuration version="35"><folder id="compared" path="{host.tree}" type="sendreceive" rescanIntervalS="3600"'
                f' fsWatcherEnabled="true" fsWatcherDelayS="1">{members}</folder>{listed}'
                '<gui enabled="false"></gui><options><globalAnnounceEnabled>false</globalAnnounceEnabled>'
                "<localAnnounceEnabled>false</localAnnounceEnabled><relaysEnabled>false</relaysEnabled>"
                "<natEnabled>false</natEnabled><urAccepted>-1</urAccepted><startBrowser>false</startBrowser>"
                f"<reconnectionIntervalS>1</reconnectionIntervalS><listenAddress>tcp://{host.address}:22000</listenAddress>"
                "</options></configuration>"
            )
            host.start("syncthing", "serve", "--no-browser", "--no-restart", "--home", str(homes[host.name]))


class Gluster(Contender):
    """GlusterFS, a volume of two replicas, mounted on both hosts; each host has a mount namespace of its own."""

    name = "GlusterFS replica 2"
    needs = ("glusterd", "glusterfs", "unshare")

    def set_up(self, source: Host, target: Host) -> None:
        """Two servers that know each other, a volume, two mounts."""
        for host in (source, target):
            binds = ["mount -t tmpfs tmpfs /run", "mkdir /run/gluster"]  # where its sockets are
            for name, place in {"lib": "/var/lib/glusterd", "log": "/var/log/glusterfs"}.items():
                (host.directory / "gluster" / name).mkdir(parents=True)
                binds.append(f"mkdir -p {place} && mount --bind {host.directory}/gluster/{name} {place}")
            (host.directory / "brick").mkdir()
            (host.directory / "seen").mkdir()
            holder = host.start("unshare", "-m", "sh", "-c", " && ".join([*binds, "exec sleep infinity"]))
            time.sleep(0.5)
            host.enter_network = (
                *host.enter_network,
                "nsenter",
                f"--mount=/proc/{holder.pid}/ns/mnt",
            )
            host.start("glusterd", "-N", "-p", str(host.directory / "gluster" / "pid"))
        until(
            lambda: "success" in source.run("gluster", "--mode=script", "peer", "probe", target.address, check=False),
            "probed",
            READY_S_MAX,
        )
        bricks = [f"{host.address}:{host.directory}/brick" for host in (source, target)]
        until(
            lambda: (
                "success"
                in source.run(
                    "gluster",
                    "--mode=script",
                    "volume",
                    "create",
                    "compared",
                    "replica",
                    "2",
                    *bricks,
                    "force",
                    check=False,
                )
            ),
            "the volume is made",
            READY_S_MAX,
        )
        source.run("gluster", "--mode=script", "volume", "start", "compared")
        for host in (source, target):
            host.run("mount", "-t", "glusterfs", f"{host.address}:/compared", str(host.directory / "seen"))

    @property
    def writes(self) -> Path:
        """Return the source's mount, through the eyes of a process that sees it."""
        return self._seen(self.pair.source)

    @property
    def shows(self) -> Path:
        """Return the target's brick: its mount goes by its caches for a second."""
        return self.stored[1]

    def _seen(self, host: Host) -> Path:
        return Path(f"/proc/{host.started[0].pid}/root{host.directory}/seen")

    @property
    def stored(self) -> tuple[Path, Path]:
        """Return both bricks."""
        return self.pair.source.directory / "brick", self.pair.target.directory / "brick"


def _start_trigger(host: Host, line: Sequence[str], **environment: str) -> None:
    script = host.directory / "trigger"
    quoted = " ".join(f"'{part}'" for part in line)
    script.write_text("#!/bin/bash\n" + TRIGGER.replace("shift_command", quoted))
    host.start("bash", str(script), str(host.tree), **environment)
    time.sleep(0.5)  # inotifywait says nothing when it is ready, being quiet


def _start_ssh(source: Host, target: Host) -> str:
    """Start a server for ssh on the target and return the command that logs in there without questions."""
    place = target.directory / "ssh"
    place.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    for key in ("host", "login"):
        target.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / key))
    shutil.copy(place / "login.pub", place / "authorized")
    (place / "config").write_text(
        f"ListenAddress {target.address}\nHostKey {place}/host\nAuthorizedKeysFile {place}/authorized\n"
        "PermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\nMaxStartups 100\n"
    )
    target.start("/usr/sbin/sshd", "-D", "-e", "-f", str(place / "config"))
    shell = f"ssh -i {place}/login -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    until(
        lambda: source.run(*shell.split(), f"root@{target.address}", "echo", "in", check=False) == "in\n", "ssh answers"
    )
    return shell


ALL: tuple[type[Contender], ...] = (Csfs, Csync2, Lsyncd, Unison, Syncthing, Gluster)
