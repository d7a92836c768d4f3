"""What ssh carries: how long it may take, and that nothing of it stays."""

import os
import shutil
import socket
from pathlib import Path

import pytest
import trio

from csfs.config.addresses import Address
from csfs.replicate import dial, ssh
from csfs.replicate.link import Pace
from tests.replicate.certified import Cluster
from tests.replicate.test_network import Member


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")
async def test_a_host_that_does_not_answer_ssh_leaves_time_for_another_address(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "CONNECT_S_MAX", 1)
    cluster = Cluster(tmp_path)
    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = [Address("127.0.0.1", silent.getsockname()[1], True, "root"), elm.address]
        ash = await Member(cluster.member("ash"), {"elm": addresses}, Pace(dial_s_max=4)).start(nursery)
        with trio.fail_after(20):
            while not ash.state("elm").connected:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert ash.state("elm").remote == str(elm.address)
    nursery.cancel_scope.cancel()


def stand_in(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a script be ssh."""
    (directory / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def descriptors() -> list[str]:
    """Return what of ssh's this process has open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return [target for target in found if "memfd:ssh" in target or target.startswith("pipe:")]


@pytest.mark.parametrize("steps", range(12))
async def test_whenever_it_is_cancelled_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    stand_in(tmp_path, f"echo $$ >>{tmp_path}/pids; exec sleep 60", monkeypatch)
    before = descriptors()
    with trio.CancelScope() as scope:
        if steps == 0:
            scope.cancel()
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                    await trio.sleep(0.001)
                scope.cancel()

            nursery.start_soon(cancel)
            _, stream = await dial.connected_first([Address("beta", 0, True)])
            try:
                await stream.receive_some(1)
            finally:
                await trio.aclose_forcefully(stream)
    assert descriptors() == before
    pids = tmp_path / "pids"
    assert not [pid for pid in (pids.read_text().split() if pids.exists() else []) if Path(f"/proc/{pid}").exists()]


async def test_what_ends_at_once_is_told_as_ssh_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing could be sent any more."""
    stand_in(tmp_path, "exec 0<&-; echo no such host >&2; exit 255", monkeypatch)
    stream = await ssh.connected(Address("beta", 0, True))
    await trio.sleep(0.2)
    await stream.send_all(b"hello")
    with pytest.raises(trio.BrokenResourceError) as caught:
        await stream.receive_some(1)
    assert "ssh: no such host" in str(caught.value.__cause__)
    await stream.aclose()
    await stream.aclose()
