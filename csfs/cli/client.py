"""Asks the daemon: one request on its control socket, then what it says on the way, then its answer."""

import socket
import time
from collections.abc import Callable
from typing import Any

import csfs
from csfs import errors
from csfs.cli import systemd
from csfs.config.home import Home
from csfs.errors import CsfsError, ExitCode, NotPermittedError, NotRunningError, RemoteProtocolError
from csfs.wire import control
from csfs.wire.codec import CONTROL_FRAME_SIZE_MAX, FrameCodec
from csfs.wire.control import ControlMessage, Progress, Reply, Request

ANSWER_S_MAX = 60.0
RECEIVE_SIZE = 256 * 1024

_BY_EXIT_CODE: dict[int, type[CsfsError]] = {
    ExitCode.FOUND: errors.FoundError,
    ExitCode.USAGE: errors.ConfigError,
    ExitCode.REFUSED: errors.ConfigError,
    ExitCode.TIMEOUT: errors.WaitTimeoutError,
    ExitCode.NOT_PERMITTED: errors.NotPermittedError,
    ExitCode.NOT_RUNNING: errors.NotRunningError,
    ExitCode.UNREACHABLE: errors.UnreachableError,
}


def ask(
    home: Home,
    command: str,
    arguments: dict[str, Any] | None = None,
    *,
    timeout_s: float | None = ANSWER_S_MAX,
    show: Callable[[Any], None] | None = None,
) -> Any:
    """Return the daemon's answer to `command`. `show` gets what it says on the way; `timeout_s` None waits for ever.

    Raises:
        NotRunningError: no daemon answers.
        ConfigError: the daemon is of another csfs; so says what its answer lacks, when it is looked up.
        CsfsError: what the daemon answered instead, as the class of its exit code.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with _connected(home) as connection:
        codec = FrameCodec[ControlMessage](ControlMessage, f"daemon at {home.control_socket}", CONTROL_FRAME_SIZE_MAX)
        try:
            connection.sendall(codec.encoded(Request(command, arguments or {})))
            while not isinstance(message := _next(connection, codec, deadline), Reply):
                if show and isinstance(message, Progress):
                    show(message.value)
        except TimeoutError:
            raise NotRunningError(
                f"the daemon did not answer within {timeout_s:g} s; see {systemd.log_of_daemon(home)}"
            ) from None
        except ConnectionError as error:
            raise NotRunningError(f"the daemon closed the connection; see {systemd.log_of_daemon(home)}") from error
        except RemoteProtocolError as error:
            raise _another_csfs(f"what the daemon says cannot be read ({error})") from error
    if message.version != csfs.__version__:
        raise _another_csfs(f"the daemon is csfs {message.version}, this command {csfs.__version__}")
    if message.exit_code:
        raise _BY_EXIT_CODE.get(message.exit_code, CsfsError)(message.error)
    return control.told(message.value, _lacking)


def _lacking(name: str) -> CsfsError:
    # Two builds of one version, which is not yet released, say.
    return _another_csfs(f'the daemon tells nothing of "{name}", as this command\'s csfs would')


def _another_csfs(what: str) -> CsfsError:
    return errors.ConfigError(f"{what}; {control.RESTART}")


def told(home: Home, command: str) -> bool:
    """Ask the daemon if there is one; return whether there is."""
    try:
        ask(home, command)
    except NotRunningError:
        return False
    return True


def _connected(home: Home) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(home.control_socket))
    except PermissionError:
        connection.close()
        raise NotPermittedError(f"{home.control_socket}: root alone may ask the daemon") from None
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        cure = "start it with: systemctl start csfs-daemon, or csfs daemon"
        if not home.settings_file.exists():
            cure = "this host is no member yet: make a cluster with csfs init, or enter one with csfs join"
        raise NotRunningError(f"no daemon answers at {home.control_socket}; {cure}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _next(connection: socket.socket, codec: FrameCodec[ControlMessage], deadline: float | None) -> ControlMessage:
    while (message := codec.next_message()) is None:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
        data = connection.recv(RECEIVE_SIZE)
        if not data:
            raise ConnectionResetError
        codec.receive(data)
    return message
