"""What a mount has to be told."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MountSettings:
    """Names of one volume on this host: all absolute paths. `path` is the directory, the others lie outside of it."""

    volume: str
    path: str
    journal: str
    control_socket: str
    pid_file: str
    log_file: str
