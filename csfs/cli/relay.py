"""`csfs relay`: what ssh runs here for a peer that comes by it."""

import os
from collections.abc import Awaitable, Callable

import click
import trio

from csfs.config.home import Home
from csfs.errors import NotPermittedError, NotRunningError

PIECE = 64 * 1024
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


@click.command("relay")
@click.pass_obj
def command(home: Home) -> None:
    """Connect standard input and output to the daemon, for a peer that comes by ssh."""
    trio.run(_relayed, os.fsencode(home.peer_socket))


async def _relayed(path: bytes) -> None:
    try:
        daemon = await trio.open_unix_socket(path)
    except PermissionError as error:
        raise NotPermittedError(
            "only root may talk to the daemon: let ssh come as root, or run csfs as root by sudo"
        ) from error
    except OSError as error:
        raise NotRunningError("no daemon runs here; start it with: systemctl start csfs-daemon") from error
    incoming, outgoing = (trio.lowlevel.FdStream(os.dup(number)) for number in (0, 1))
    async with daemon, incoming, outgoing, trio.open_nursery() as nursery:

        async def send() -> None:
            await _copy(incoming.receive_some, daemon.send_all)
            await daemon.send_eof()

        nursery.start_soon(send)
        await _copy(daemon.receive_some, outgoing.send_all)
        nursery.cancel_scope.cancel()


async def _copy(
    receive: Callable[[int], Awaitable[bytes | bytearray]], send: Callable[[bytes], Awaitable[None]]
) -> None:
    """Copy until one of the two has ended."""
    try:
        while data := await receive(PIECE):
            await send(bytes(data))
    except BROKEN:
        pass
