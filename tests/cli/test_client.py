"""Talking to a daemon on its control socket."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from csfs.cli import client, status
from csfs.errors import CsfsError, NotRunningError, UnreachableError, WaitTimeoutError
from csfs.wire.codec import CONTROL_FRAME_SIZE_MAX, FrameCodec
from csfs.wire.control import ControlMessage, Progress, Reply, Request
from tests.cli.conftest import Host

STATUS: dict[str, Any] = {
    "member": "alpha",
    "cluster": "web",
    "version": "1",
    "pid": 7,
    "volumes": [
        {
            "name": "etc",
            "path": "/etc",
            "mounted": True,
            "state": "stopped",
            "reason": "another root",
            "paths": 1234,
            "pending": 5,
            "conflicts": 1,
            "problems": [{"path": "[bold]x", "reason": "immutable"}],
            "problem_count": 4321,
            "living_on": [{"path": "d", "moved_to": "e"}, {"path": "gone", "moved_to": ""}],
            "alarms": [],
            "unvalidated": [{"command": "visudo", "paths": ["/sudoers"]}],
            "failed_actions": [{"command": ["nginx", "-s", "reload"], "reason": "exit 1", "time": 1.0, "paths": 2}],
            "linked_across": [["/a", "/b"]],
            "underneath": {
                "watched": False,
                "reason": "not permitted here",
                "noticed": 9,
                "count": 7,
                "changes": [{"path": "y", "what": "written", "time": 1.0, "pid": 12, "program": "vi"}],
                "passing": [{"pid": number, "program": "vi", "how": f"writes /etc/{number}"} for number in range(7)],
            },
            "journal_backlog": 6,
            "unrepresented": [{"path": "z", "reason": "xattr user.large: No space left on device"}],
            "progress": {
                "paths": 12,
                "bytes": 2048,
                "paths_left": 5,
                "bytes_left": 1024,
                "paths_per_s": 1.0,
                "bytes_per_s": 512.0,
                "seconds_left": 5.0,
            },
        }
    ],
    "peers": [
        {
            "name": "beta",
            "connected": True,
            "address": "192.0.2.2:1",
            "since": 1.0,
            "error": "",
            "alarms": [],
            "backlog": {"etc": 3, "www": 0},
            "progress": {},
            "send_rate": 1048576,
            "lag_s": 1.25,
            "bytes_sent": 2048,
            "bytes_received": 3,
        },
        {
            "name": "gamma",
            "connected": False,
            "address": "",
            "since": 0.0,
            "error": "gamma: no route",
            "alarms": ["its clock is 5 s ahead"],
            "backlog": {},
            "progress": {},
            "send_rate": None,
            "lag_s": None,
            "bytes_sent": 0,
            "bytes_received": 0,
        },
    ],
}


@contextmanager
def daemon(
    host: Host, answer: Callable[[Request], list[ControlMessage]], piece: int = 1 << 20
) -> Iterator[list[Request]]:
    """Answer requests on the host's control socket, `piece` bytes at a time; an empty answer closes the connection."""
    host.home.made()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(host.home.control_socket))
    listener.listen()
    requests: list[Request] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                codec = FrameCodec[ControlMessage](ControlMessage, "test", CONTROL_FRAME_SIZE_MAX)
                while (request := codec.next_message()) is None and (data := connection.recv(65536)):
                    codec.receive(data)
                if isinstance(request, Request):
                    requests.append(request)
                    sent = b"".join(codec.encoded(message) for message in answer(request))
                    for start in range(0, len(sent), piece):
                        connection.sendall(sent[start : start + piece])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield requests
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_an_answer_comes_after_what_is_said_on_the_way(host: Host, piece: int) -> None:
    said: list[Any] = []
    with daemon(host, lambda _: [Progress(1), Progress("two"), Reply(0, {"three": 3})], piece) as requests:
        value = client.ask(host.home, "wait", {"path": "/x"}, show=said.append)
    assert (value, said) == ({"three": 3}, [1, "two"])
    assert requests == [Request("wait", {"path": "/x"})]


@pytest.mark.parametrize(
    ("code", "kind"), [(4, WaitTimeoutError), (7, UnreachableError), (70, CsfsError), (99, CsfsError)]
)
def test_a_refusal_is_the_error_of_its_exit_code(host: Host, code: int, kind: type[CsfsError]) -> None:
    with daemon(host, lambda _: [Reply(code, error="because")]), pytest.raises(kind, match="because"):
        client.ask(host.home, "wait")


def test_no_daemon_is_said_with_the_cure(host: Host) -> None:
    with pytest.raises(NotRunningError, match="no member yet"):
        client.ask(host.home, "status")
    host.home.made().settings_file.touch()
    with daemon(host, lambda _: []):
        pass
    with pytest.raises(NotRunningError, match="start it with"):  # the socket of a daemon that died
        client.ask(host.home, "status")
    assert client.told(host.home, "reload") is False


def test_a_daemon_of_another_version_is_to_be_restarted(host: Host) -> None:
    with daemon(host, lambda _: [Reply(0, {}, version="0.0.9")]):
        ended = host.run("status")
    assert (ended.code, ended.out) == (3, "")
    assert "the daemon is csfs 0.0.9" in ended.err
    assert "csfs daemon --stop" in ended.err


def test_a_daemon_that_hangs_up_is_not_running(host: Host) -> None:
    with daemon(host, lambda _: []), pytest.raises(NotRunningError, match="closed the connection"):
        client.ask(host.home, "status")


def test_a_daemon_that_says_nothing_is_given_up(host: Host) -> None:
    said = threading.Event()

    def hang(_: Request) -> list[ControlMessage]:
        said.wait(10)
        return []

    with daemon(host, hang):
        with pytest.raises(NotRunningError, match=r"did not answer within 0\.05 s"):
            client.ask(host.home, "status", timeout_s=0.05)
        said.set()


def test_status_shows_volumes_peers_and_problems(host: Host) -> None:
    with daemon(host, lambda _: [Reply(0, STATUS)]) as requests:
        ended = host.run("status", "/etc/../etc")
        as_json = host.run("status", "--json")
    assert requests[0].arguments == {"path": b"/etc"}
    assert requests[1].arguments == {"path": None}
    assert ended.code == as_json.code == 1
    for part in (
        "stopped: another root",
        "1234",
        "etc: [bold]x: immutable",
        "etc: 4320 more; --json",
        "etc: d was moved to e, and lives on with what was made in it meanwhile",
        "etc: gone was removed, and lives on with what was made in it meanwhile",
        "etc: changes under the mount are found by comparing alone: not permitted here",
        "etc: changed under the mount: y: written, by vi (12)",
        "etc: 7 changes under the mount in all",
        "vi (4) writes /etc/4, and 2 more",
        "etc: /a and /b are one file here, in different groups",
        "etc: z: this host cannot show all of it: xattr user.large: No space left on device",
        "etc: visudo is not installed: /sudoers is not validated",
        "etc: action nginx -s reload failed for 2 paths: exit 1",
        "etc: 7 of 12 paths, 1.0 KiB of 2.0 KiB, 512 B/s, 5.0 s left",
        "contents at 1.0 MiB/s",
        "etc 3",
        "1.2 s",
        "2.0 KiB",
        " h: no route",
    ):
        assert part in ended.out
    assert '"member": "alpha"' in as_json.out
    (away,) = [line for line in ended.out.splitlines() if line.startswith("gamma ")]
    assert away.split()[1:4] == ["not", "connected", "for"]
    assert away.split("no route")[1].split()[:2] == ["?", "?"], "lag and backlog of one who is away"


def test_status_without_trouble_is_exit_code_0(host: Host) -> None:
    with daemon(host, lambda _: [Reply(0, {**STATUS, "volumes": [], "peers": []})]):
        shown = host.ok("status")
    assert "csfs volume add" in shown
    assert "csfs invite" in shown


def test_compare_lists_what_was_changed_without_the_mount(host: Host) -> None:
    found = [
        {"path": "y", "what": "written", "time": 1.0, "pid": 12, "program": ""},
        {"path": "z", "what": "removed", "time": 1.0, "pid": None, "program": ""},
    ]
    answers = [{"volume": "etc", "paths": 3, "changes": found}, {"volume": "etc", "paths": 3, "changes": []}]
    with daemon(host, lambda _: [Reply(0, answers.pop(0))]) as requests:
        ended = host.run("compare", "/etc/../etc/d")
        nothing = host.ok("compare", "/etc")
    assert [request.arguments["path"] for request in requests] == [b"/etc/d", b"/etc"]
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "etc: y: written, by a process that has ended (12)",
        "etc: z: removed",
        "3 paths, 2 changed without the mount",
    ]
    assert nothing == "3 paths, 0 changed without the mount\n"


def test_what_is_empty_is_said(host: Host) -> None:
    empty = {"conflicts": [], "approve": {"waiting": [], "suspects": [], "errors": []}, "members": []}
    with daemon(host, lambda request: [Reply(0, empty[request.command])]):
        assert host.ok("conflicts") == "no conflicts\n"
        assert host.ok("approve") == "nothing waits\n"
        assert json.loads(host.ok("conflicts", "--json")) == []


def test_wait_passes_on_what_it_was_asked(host: Host) -> None:
    away = [["beta", "gamma"], []]
    with daemon(host, lambda _: [Reply(0, {"away": away.pop(), "unmounted": ["etc"]})]) as requests:
        host.ok("wait", "/etc", "--peer", "beta", "--peer", "gamma", "--timeout", "2.5")
        ended = host.run("wait")
    assert (ended.code, ended.err) == (
        0,
        "csfs: not mounted, and not waited for: etc\ncsfs: not connected, and not waited for: beta, gamma\n",
    )
    assert requests[0].arguments == {"path": b"/etc", "peers": ["beta", "gamma"], "timeout": 2.5}
    assert requests[1].arguments == {"path": None, "peers": [], "timeout": None}


def test_watching_ends_with_the_daemon(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "WATCH_S", 0.0)
    left = [STATUS, STATUS]
    with daemon(host, lambda _: [Reply(0, left.pop())] if len(left) > 1 else []) as requests:
        ended = host.run("status", "--watch", "--json")
    assert ended.code == 6
    assert ended.out.count('"member": "alpha"') == 1
    assert len(requests) == 2
