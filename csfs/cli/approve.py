"""`csfs approve`: what the brake holds back, and what becomes of it."""

import os
from typing import Any

import click

from csfs.cli import arguments, client, output
from csfs.config import files
from csfs.config.home import Home
from csfs.errors import ConfigError, ExitCode

PATHS_SHOWN_MAX = 20


@click.command("approve")
@click.argument("what", metavar="[VOLUME|PATH]", required=False, type=click.Path())
@click.option("--reject", is_flag=True, help="Turn it down: what this host shows supersedes it on all members.")
@click.option("--dry-run", is_flag=True, help="Say which paths it is about, and do nothing.")
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def command(home: Home, what: str | None, reject: bool, dry_run: bool, machine: bool) -> int:
    """Let through what waits at or below PATH, or in VOLUME: what a member removes or replaces of a great part of the volume in
    one go, and what a power cut may have damaged here. Without an argument: list what waits. Exit code 1: something waits, or
    could not be done."""
    if what is None and (reject or dry_run):
        raise click.UsageError("say which VOLUME or PATH")
    path = None if what is None else _place(home, what)
    value = client.ask(home, "approve", {"path": path, "reject": reject, "dry_run": dry_run}, timeout_s=None)
    if machine:
        output.as_json(value)
    elif path is None:
        _list(value["waiting"], value["suspects"])
    else:
        _show(value, "turned down" if reject else "let through", dry_run)
    is_left = value["waiting"] or (value["suspects"] and path is None)
    return ExitCode.FOUND if is_left or value["errors"] else ExitCode.DONE


def _place(home: Home, what: str) -> bytes:
    settings, host = files.loaded_both(home)
    volume = next((volume for volume in settings.volumes if volume.name == what), None)
    if volume is None:
        return arguments.place_of(what)
    top = volume.path_of(host.member)
    if top is None:
        raise ConfigError(f"volume {what} has no directory on this host")
    return os.fsencode(top)


def _list(waiting: list[dict[str, Any]], suspects: list[dict[str, Any]]) -> None:
    for one in suspects:
        what = "is gone" if one["kind"] == "absent" else f"is as a power cut may have left it: {_described(one)}"
        click.echo(f"{one['path']} {what}; csfs approve PATH takes it so")
    if not waiting and not suspects:
        click.echo("nothing waits")
    if not waiting:
        return
    table = output.table("volume", "path", "member", "#removes", "#replaces", "since")
    for one in waiting:
        since = output.moment(int(one["since"] * 1e9))
        numbers = str(one["removed"]), str(one["replaced"])
        table.add_row(one["volume"], one["path"], one["member"] or "?", *numbers, since)
    output.console().print(table)
    click.echo("csfs approve VOLUME lets it through, --reject turns it down, --dry-run lists the paths")


def _described(suspect: dict[str, Any]) -> str:
    return output.size(suspect["size"]) if suspect["kind"] == "file" else str(suspect["kind"])


def _show(value: dict[str, Any], done: str, dry_run: bool) -> None:
    shown_max = len(value["paths"]) if dry_run else PATHS_SHOWN_MAX
    for one in value["paths"][:shown_max]:
        click.echo(f"{one['path']}: {'removed' if one['removed'] else 'replaced'} by {one['member'] or '?'}")
    would = "would be " if dry_run else ""
    for one in value["suspects"]:
        as_it_is = "gone" if one["kind"] == "absent" else f"as it is, {_described(one)}"
        click.echo(f"{one['path']}: {would}taken {as_it_is}")
    for one in value["errors"]:
        click.echo(f"{one['path']}: {one['error']}")
    if value["paths"]:
        click.echo(f"{value['removed']} removals and {value['replaced']} replacements {would}{done}")
