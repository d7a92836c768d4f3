"""`csfs restore`: brings back a version of a path, or a directory as it was."""

import os
from typing import Any

import click

from csfs.cli import arguments, client, contents, output
from csfs.config.home import Home
from csfs.errors import ExitCode

_WORDS = {"create": "back", "replace": "replaced", "attributes": "attributes set", "remove": "removed"}
_WOULD = {"create": "would be back", "replace": "would be replaced", "attributes": "attributes would be set"}


@click.command("restore")
@click.argument("what", metavar="PATH@VERSION|DIRECTORY", type=click.Path())
@click.option(
    "--to",
    "other",
    metavar="PATH|TIME",
    type=click.Path(),
    help="Put the version there; PATH stays as it is. Of DIRECTORY: the same as --to-time.",
)
@click.option("--to-time", "then", metavar="TIME", help="Bring back what was live at and below DIRECTORY then.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def command(home: Home, what: str, other: str | None, then: str | None, dry_run: bool, machine: bool) -> int:
    """Make a version of PATH live again on all members, complete; csfs history lists them. What it displaces is kept."""
    if then is not None and other is not None:
        raise click.UsageError("--to and --to-time exclude each other")
    if not arguments.names_version(what):
        then, other = then or other, None  # where no version is named, there is nothing to put anywhere
    if then is not None:
        request = {"path": arguments.place_of(what), "time_ns": arguments.moment_ns(then), "dry_run": dry_run}
        value = client.ask(home, "revert", request, timeout_s=None)
    else:
        value = _restored(home, what, other, dry_run)
    if machine:
        output.as_json(value)
    else:
        _show(value, dry_run)
    return ExitCode.FOUND if any(result["error"] for result in value["restored"]) else ExitCode.DONE


def _restored(home: Home, what: str, other: str | None, dry_run: bool) -> Any:
    path, version = arguments.versioned(what)
    target = arguments.place_of(other) if other is not None else None
    if target is not None and os.path.isdir(target):
        raise click.UsageError(f"{other} is a directory; say what the file in it is to be called")
    request = {"path": path, "version": version, "to": target, "dry_run": dry_run}
    value = client.ask(home, "restore", request, timeout_s=None)
    if value["outside"] and target is not None:
        size = contents.write_outside(home, path, version, target, dry_run=dry_run)
        done = {
            "path": os.fsdecode(target),
            "error": "",
            "undo": "",
            "what": "create",
            "version": version,
            "size": size,
        }
        value["restored"] = [done]
    return value


def _show(value: dict[str, Any], dry_run: bool) -> None:
    if not value["restored"]:
        click.echo("nothing to do: it is so already")
    for result in value["restored"]:
        if result["error"]:
            click.echo(f"{result['path']}: {result['error']}")
            continue
        done = _WOULD.get(result["what"], "would be removed") if dry_run else _WORDS[result["what"]]
        undo = f"; taken back by: {result['undo']}" if result["undo"] and not value.get("undo") else ""
        size = f", {output.size(result['size'])}" if result["what"] in ("create", "replace") else ""
        click.echo(f"{result['path']}: {done} ({result['version']}{size}){undo}")
    if value.get("undo"):
        click.echo(f"all of it is taken back by: {value['undo']}")
