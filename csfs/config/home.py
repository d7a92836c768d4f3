"""Where one member's files are: below `--home DIR`, or in the places the system has for them."""

import os
from dataclasses import dataclass
from pathlib import Path

from csfs.errors import ConfigError

SOCKET_PATH_SIZE_MAX = 107
"""sockaddr_un has 108 bytes with the closing NUL; unix(7)."""
VARIABLE = "CSFS_HOME"


@dataclass(frozen=True, slots=True)
class Home:
    """The three directories of one member and every file in them.

    `root` is what `--home` said, None for the system's places; child processes are started with it.
    """

    etc: Path
    lib: Path
    run: Path
    root: Path | None = None

    @property
    def settings_file(self) -> Path:
        return self.etc / "csfs.toml"

    @property
    def settings_lock(self) -> Path:
        return self.lib / "settings.lock"

    @property
    def member_file(self) -> Path:
        return self.etc / "member.toml"

    @property
    def keys(self) -> Path:
        return self.etc / "keys"

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def peer_socket(self) -> Path:
        """Return where `csfs relay` reaches the daemon, for peers that come by ssh."""
        return self.run / "peers.sock"

    @property
    def daemon_pid(self) -> Path:
        return self.run / "daemon.pid"

    @property
    def daemon_log(self) -> Path:
        return self.lib / "daemon.log"

    @property
    def crash_log(self) -> Path:
        return self.lib / "crash.log"

    def volume_dir(self, volume: str) -> Path:
        return self.lib / volume

    def journal(self, volume: str) -> Path:
        return self.volume_dir(volume) / "journal.db"

    def index(self, volume: str) -> Path:
        return self.volume_dir(volume) / "index.db"

    def founding(self, volume: str) -> Path:
        """Return the mark that this host added the volume: what its tree holds is where the volume begins."""
        return self.volume_dir(volume) / "founding"

    def extra(self, volume: str) -> Path:
        """Return the file that says what becomes of files that only this host had when it joined: `add` or `keep`."""
        return self.volume_dir(volume) / "extra"

    def validating(self, volume: str) -> Path:
        """Return the directory for copies that validators look at."""
        return self.run / f"validating-{volume}"

    def mount_log(self, volume: str) -> Path:
        return self.volume_dir(volume) / "mount.log"

    def mount_pid(self, volume: str) -> Path:
        return self.run / f"mount-{volume}.pid"

    @property
    def arguments(self) -> list[str]:
        """Return the options that give a csfs command this home."""
        return ["--home", str(self.root)] if self.root else []

    def made(self) -> "Home":
        """Make the directories: settings readable by all, state and socket for root alone."""
        for directory, mode in ((self.etc, 0o755), (self.lib, 0o700), (self.run, 0o755)):
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
        return self


def chosen(directory: str | None = None) -> Home:
    """Return the home that `--home`, or else CSFS_HOME, or else the system asks for.

    Raises:
        ConfigError: the path is too long for the control socket.
    """
    directory = directory or os.environ.get(VARIABLE) or None
    if directory is None:
        return Home(Path("/etc/csfs"), Path("/var/lib/csfs"), Path("/run/csfs"))
    root = Path(os.path.abspath(directory))
    home = Home(root / "etc", root / "lib", root / "run", root)
    size = len(os.fsencode(home.control_socket))
    if size > SOCKET_PATH_SIZE_MAX:
        raise ConfigError(
            f"{home.control_socket}: path of {size} bytes, limit {SOCKET_PATH_SIZE_MAX} for a socket; choose a shorter --home"
        )
    return home
