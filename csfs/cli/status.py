"""`csfs status`: volumes, peers, lag and backlog, problems."""

import os
import time
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from csfs.cli import client, output, underneath
from csfs.config.home import Home
from csfs.errors import ExitCode

WATCH_S = 1.0
PROBLEMS_SHOWN_MAX = 20


@click.command("status")
@click.argument("path", required=False, type=click.Path())
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.option("--watch", is_flag=True, help="Go on showing it, every second, until interrupted.")
@click.pass_obj
def command(home: Home, path: str | None, machine: bool, watch: bool) -> int:
    """Show volumes, peers and problems, all of them or those of PATH. Exit code 1: there are problems or conflicts."""
    arguments = {"path": None if path is None else os.fsencode(os.path.abspath(path))}
    if watch:
        _watch(home, arguments, machine)
    value = client.ask(home, "status", arguments)
    if machine:
        output.as_json(value)
    else:
        output.console().print(shown(value, time.time()))
    return ExitCode.FOUND if has_trouble(value) else ExitCode.DONE


def _watch(home: Home, arguments: dict[str, Any], machine: bool) -> None:
    """Show the status again and again; an interrupt or the daemon's end is the way out."""
    if machine:
        while True:
            output.as_json(client.ask(home, "status", arguments))
            time.sleep(WATCH_S)
    with Live(console=output.console(), auto_refresh=False) as live:
        while True:
            live.update(shown(client.ask(home, "status", arguments), time.time()), refresh=True)
            time.sleep(WATCH_S)


def has_trouble(value: dict[str, Any]) -> bool:
    """Return whether something waits for a person."""
    volumes = any(
        volume["problems"] or volume["conflicts"] or volume["alarms"] or volume["failed_actions"]
        for volume in value["volumes"]
    )
    stands_still = any(volume["state"] in ("quarantine", "stopped") for volume in value["volumes"])
    return volumes or stands_still or any(peer["alarms"] for peer in value["peers"])


def shown(value: dict[str, Any], now_s: float) -> RenderableType:
    """Return the status for people; `now_s` is seconds since 1970."""
    heading = f"{value['member']} of cluster {value['cluster']}, csfs {value['version']}, daemon {value['pid']}"
    progress = [Text(line) for line in progress_lines(value)]
    parts = (
        *_volumes(value["volumes"]),
        Text(),
        _peers(value["peers"], now_s),
        *([Text(), *progress] if progress else []),
    )
    return Group(Text(heading), Text(), *parts)


def progress_lines(value: dict[str, Any]) -> list[str]:
    """Return how far each volume is that has something to show yet, here and at peers."""
    here = [f"{one['name']}: {output.progress(one['progress'])}" for one in value["volumes"] if one["progress"]]
    volumes = {one["name"] for one in value["volumes"]}
    there = [
        f"{volume} at {peer['name']}: {output.progress(progress)}"
        for peer in value["peers"]
        for volume, progress in peer["progress"].items()
        if volume in volumes
    ]
    return here + there


def _volumes(volumes: list[dict[str, Any]]) -> list[RenderableType]:
    if not volumes:
        return [Text("no volumes; csfs volume add NAME PATH makes one")]
    table = output.table("volume", "path", "state", "#paths", "#to apply", "#to read", "#conflicts", "#problems")
    problems: list[RenderableType] = []
    for volume in volumes:
        if volume["reason"]:
            is_grave = volume["state"] in ("quarantine", "stopped")
            problems.append(
                Text(f"{volume['name']}: {volume['state']}: {volume['reason']}", "bold red" if is_grave else "")
            )
        numbers = (
            volume["paths"],
            volume["pending"],
            volume["journal_backlog"],
            volume["conflicts"],
            volume["problem_count"],
        )
        table.add_row(volume["name"], Text(volume["path"]), Text(volume["state"]), *(str(number) for number in numbers))
        problems += [Text(f"{volume['name']}: ALARM: {alarm}", "bold red") for alarm in volume["alarms"]]
        for problem in volume["problems"][:PROBLEMS_SHOWN_MAX]:
            problems.append(Text(f"{volume['name']}: {problem['path']}: {problem['reason']}"))
        lines = underneath.changes(volume["underneath"]) + underneath.passing(volume["underneath"])
        problems += [Text(f"{volume['name']}: {line}") for line in lines]
        for directory in volume.get("living_on", ()):
            gone = f"moved to {directory['moved_to']}" if directory["moved_to"] else "removed"
            problems.append(
                Text(
                    f"{volume['name']}: {directory['path']} was {gone}, and lives on with what was made in it meanwhile"
                )
            )
        for one in volume["unrepresented"][:PROBLEMS_SHOWN_MAX]:
            problems.append(Text(f"{volume['name']}: {one['path']}: this host cannot show all of it: {one['reason']}"))
        problems += [Text(f"{volume['name']}: {line}") for line in _commands(volume)]
        for path, other in volume["linked_across"]:
            problems.append(
                Text(
                    f"{volume['name']}: {path} and {other} are one file here, in different groups: not at the other members"
                )
            )
        if volume.get("held"):
            problems.append(
                Text(
                    f"{volume['name']}: {output.counted(volume['held'], 'path')} here alone, from before this host joined"
                )
            )
        listed = min(len(volume["problems"]), PROBLEMS_SHOWN_MAX)
        if volume["problem_count"] > listed:
            problems.append(
                Text(f"{volume['name']}: {volume['problem_count'] - listed} more; --json has the first hundred")
            )
    return [table, *([Text(), *problems] if problems else [])]


def _commands(volume: dict[str, Any]) -> list[str]:
    """Return what is to be said of the configuration's commands."""
    absent = [
        f"{one['command']} is not installed: {', '.join(one['paths'])} is not validated"
        for one in volume["unvalidated"]
    ]
    failed = [
        f"action {' '.join(one['command'])} failed for {output.counted(one['paths'], 'path')}: {one['reason']}"
        for one in volume["failed_actions"]
    ]
    return absent + failed


def _peers(peers: list[dict[str, Any]], now_s: float) -> RenderableType:
    if not peers:
        return Text("no peers; csfs invite MEMBER lets one in")
    table = output.table("peer", "link", "#lag", "#backlog", "#sent", "#received")
    for peer in peers:
        backlog = ", ".join(f"{volume} {count}" for volume, count in peer["backlog"].items() if count) or "0"
        table.add_row(
            peer["name"],
            Text(_link(peer, now_s)),
            # What one who is away lacks, nobody knows.
            output.seconds(peer["lag_s"]) if peer["lag_s"] is not None else "?",
            backlog if peer["connected"] else "?",
            output.size(peer["bytes_sent"]),
            output.size(peer["bytes_received"]),
        )
    alarms = [Text(f"{peer['name']}: ALARM: {alarm}", "bold red") for peer in peers for alarm in peer["alarms"]]
    return Group(table, *([Text(), *alarms] if alarms else []))


def _link(peer: dict[str, Any], now_s: float) -> str:
    if peer["connected"]:
        since = f" for {output.seconds(max(0.0, now_s - peer['since']))}" if peer["since"] is not None else ""
        rate = f", contents at {output.size(peer['send_rate'])}/s" if peer["send_rate"] else ""
        return f"{peer['address']}{since}{rate}"
    return output.absence(peer, now_s)
