"""Peers reached by ssh: it carries the bytes, and TLS within says who the other one is, as on any connection.

`ssh HOST csfs relay` connects its standard input and output to the daemon there. Which of the host's keys let whom in is ssh's affair;
one that may do nothing else has `command="csfs relay",restrict` before it in authorized_keys.
"""

import contextlib
import os
import signal
import subprocess
from typing import Final

import trio

from csfs.config.addresses import PORT_OF_SSH, Address
from csfs.core.paths import shown
from csfs.errors import UnreachableError

PROGRAM: Final = "ssh"
RELAY: Final = ("csfs", "relay")
CONNECT_S_MAX: Final = 5
"""A host that does not answer ssh must leave time for its other addresses."""
SAID_MAX: Final = 400
"""Characters of what ssh complains about that are shown."""


class SshStream(trio.abc.HalfCloseableStream):
    """What ssh carries; closing it ends ssh."""

    def __init__(self, address: Address, process: trio.Process, complaints: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._address = address
        self._process = process
        self._complaints = complaints
        self._sending, self._receiving = process.stdin, process.stdout
        self._is_silent = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; what is wrong with ssh is found when something is to be received."""
        try:
            await self._sending.send_all(data)
        except trio.BrokenResourceError:
            if not self._is_silent:
                raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._sending.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return what came; an end before anything did is ssh's.

        Raises:
            trio.BrokenResourceError: as it complains itself.
        """
        data = await self._receiving.receive_some(max_bytes)
        if not data and self._is_silent:
            raise trio.BrokenResourceError from OSError(await self._complaint())
        self._is_silent = False
        return data

    async def send_eof(self) -> None:
        await self._sending.aclose()

    async def aclose(self) -> None:
        if self._complaints < 0:
            return  # its number may be that of another process by now
        complaints, self._complaints = self._complaints, -1
        try:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await self._process.wait()
                await self._sending.aclose()
                await self._receiving.aclose()
        finally:
            os.close(complaints)

    async def _complaint(self) -> str:
        with trio.move_on_after(1):
            await self._process.wait()
        said = os.pread(self._complaints, SAID_MAX, 0)
        words = " ".join(shown(said).replace("\\x0a", " ").replace("\\x0d", " ").split())
        return f"ssh: {words or f'exit {self._process.returncode}'}"


async def connected(address: Address) -> SshStream:
    """Return a stream to the daemon at the other end; whether ssh gets there shows when something is received.

    Raises:
        UnreachableError: ssh cannot be started.
    """
    who = f"{address.user}@{address.host}" if address.user else address.host
    port = () if address.port == PORT_OF_SSH else ("-p", str(address.port))
    # Nobody is there to answer a question. What others send by way of this connection is nobody's.
    options = (
        "-T",
        "-oBatchMode=yes",
        f"-oConnectTimeout={CONNECT_S_MAX}",
        "-oClearAllForwardings=yes",
        "-oLogLevel=ERROR",
        "-oEscapeChar=none",
    )
    complaints = os.memfd_create("ssh", os.MFD_CLOEXEC)
    try:
        process = await trio.lowlevel.open_process(
            [PROGRAM, *options, *port, "--", who, *RELAY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd="/",
            start_new_session=True,
        )
    except BaseException as error:
        os.close(complaints)
        if not isinstance(error, OSError):
            raise
        raise UnreachableError(f"{address}: ssh cannot be started: {(error.strerror or '').lower()}") from error
    return SshStream(address, process, complaints)
