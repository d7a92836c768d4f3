"""One member of the soak: in a network namespace of its own, its tree and its state each on a small disk of its own."""

import contextlib
import os
import subprocess
from pathlib import Path

from csfs.mount import mountinfo
from scripts.support.members import Member, until

TREE_DISK_SIZE = 3 << 30
STATE_DISK_SIZE = 512 << 20
ROOM_LEFT = 2 << 20
"""How much of a disk is filled in small pieces, so that nothing at all is left."""


class Host:
    """A member and the disks below it."""

    def __init__(self, base: Path, name: str, port: int, prefix: tuple[str, ...], address: str) -> None:
        self.member = Member(base, name, port, prefix, address)
        self._fillers: list[Path] = []
        self.member.directory.mkdir(parents=True)
        self._make_disk("tree", TREE_DISK_SIZE, self.member.tree)
        self._make_disk("state", STATE_DISK_SIZE, self.member.home.lib)
        self.member.home.lib.chmod(0o700)

    @property
    def name(self) -> str:
        """The member's name."""
        return self.member.name

    def _make_disk(self, name: str, size: int, directory: Path) -> None:
        image = self.member.directory / f"{name}.img"
        directory.mkdir(parents=True)
        with image.open("wb") as file:
            file.truncate(size)
        _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", str(image))
        _run("mount", "-o", "loop", str(image), str(directory))
        with contextlib.suppress(FileNotFoundError):
            (directory / "lost+found").rmdir()

    # ----------------------------------------------------------------------------------------------------------- processes

    def pids(self) -> dict[str, int]:
        """Return the processes that live, by what they are."""
        found = {}
        for what in ("daemon", "parent", "mount"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(getattr(self.member, f"{what}_pid"))
                # Of one that nobody has reaped it is empty, and a number may be another's by now.
                if b"csfs" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found[what] = pid
        return found

    def is_running(self, what: str) -> bool:
        """Return whether the daemon, the parent or the mount lives."""
        return what in self.pids()

    def bring_back(self) -> None:
        """Do what an administrator, or systemd, does after a crash: have everything run again."""
        if not self.is_running("daemon"):
            self.member.start_daemon()
        if self.is_running("mount") and not self.is_running("parent"):
            self.member.umount("--lazy")  # it serves on, but nobody would bring it back
        if self.is_running("parent"):
            until(lambda: self.is_running("mount") and self.member.is_mounted, f"{self.name}'s parent mounts again")
        else:
            self.member.mount()

    # --------------------------------------------------------------------------------------------------------------- disks

    def fill(self, what: str) -> None:
        """Take the last room of the `tree` or of the `state` disk."""
        directory = self.member.underneath / ".csfs" if what == "tree" else self.member.home.lib
        filler = directory / "filler"
        self._fillers.append(filler)
        with filler.open("wb", buffering=0) as file:
            status = os.fstatvfs(file.fileno())
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, status.f_bavail * status.f_frsize - ROOM_LEFT))
            file.seek(0, os.SEEK_END)
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

    def make_room(self) -> None:
        """Give back what `fill` took."""
        while self._fillers:
            self._fillers.pop().unlink(missing_ok=True)

    # ----------------------------------------------------------------------------------------------------------------- end

    def logs(self) -> str:
        """Return what was logged since the beginning."""
        return self.member.logs()

    def end(self) -> None:
        """End all processes, and remove all mounts."""
        self.make_room()
        self.member.stop()
        directories = (str(self.member.tree), str(self.member.home.lib))
        for _ in range(8):
            left = [mount.path for mount in mountinfo.current() if mount.path in directories]
            for path in left:
                subprocess.run(["umount", "-l", path], capture_output=True, check=False)


def _run(*line: str) -> None:
    subprocess.run(line, check=True, capture_output=True, timeout=60)
