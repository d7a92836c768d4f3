"""Runs commands of the configuration: in a clean environment, beside everything else, with an end."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import trio

OUTPUT_SIZE_MAX: Final = 4_096
SEARCHED: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT: Final = {"PATH": SEARCHED, "LC_ALL": "C.UTF-8", "HOME": "/"}
LAST_WORDS_S: Final = 0.2
"""How long more output is waited for when a command has ended that left something behind which holds it open."""


class Ended(NamedTuple):
    """How a command ended: its exit code, None if it took too long; and the beginning of what it said."""

    code: int | None
    said: bytes


def found(name: str) -> str | None:
    """Return where a command is on this host, None if it is not installed."""
    return shutil.which(name, path=SEARCHED)


async def ran(
    command: Sequence[str],
    timeout_s: float,
    *,
    told: bytes = b"",
    environment: Mapping[str, str] = ENVIRONMENT,
    may_leave: bool = False,
) -> Ended:
    """Run a command to its end, with `told` on its standard input.

    `may_leave`: what it has started in turn, a service that it restarted, say, stays when it ends in time.

    Raises:
        OSError: it cannot be started.
    """
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE if told else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environment,
        start_new_session=True,
    )
    said, is_over = bytearray(), False
    try:
        with trio.move_on_after(timeout_s):
            async with trio.open_nursery() as nursery:
                if process.stdin is not None:
                    nursery.start_soon(_tell, process.stdin, told)
                nursery.start_soon(_listen, process, said)
                await process.wait()
                is_over = True
                nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_S
    finally:
        if not (may_leave and is_over):
            _kill(process.pid)
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()
    return Ended(process.returncode if is_over else None, bytes(said))


async def _tell(stream: trio.abc.SendStream, told: bytes) -> None:
    try:
        await stream.send_all(told)
    except trio.BrokenResourceError:
        pass  # it does not want to know
    await stream.aclose()


async def _listen(process: trio.Process, said: bytearray) -> None:
    assert process.stdout is not None
    while chunk := await process.stdout.receive_some(65_536):
        said += chunk[: OUTPUT_SIZE_MAX - len(said)]


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
