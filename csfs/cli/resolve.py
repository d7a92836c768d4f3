"""`csfs resolve`: one command settles a conflict for every member."""

import os
from typing import Any

import click

from csfs.cli import arguments, client, completing, output
from csfs.config.home import Home
from csfs.errors import ConfigError, ExitCode
from csfs.store import blocks
from csfs.store.hashing import BLOCK_SIZE, block_count

BLOCKS_AT_ONCE = 32


@click.command("resolve")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option(
    "--keep",
    "member",
    metavar="MEMBER",
    shell_complete=completing.members,
    help="Make live what MEMBER made; what is live now, if not given.",
)
@click.option(
    "--keep-all",
    "everywhere",
    metavar="MEMBER",
    shell_complete=completing.members,
    help="The same, wherever MEMBER made one of the versions.",
)
@click.option("--file", "new", type=click.Path(exists=True, dir_okay=False), help="Make this content live.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def command(
    home: Home,
    paths: tuple[str, ...],
    member: str | None,
    everywhere: str | None,
    new: str | None,
    dry_run: bool,
    machine: bool,
) -> int:
    """Settle the conflicts at and below each PATH, for all members at once. With --keep-all and no PATH: all there are."""
    if sum(choice is not None for choice in (member, everywhere, new)) > 1:
        raise click.UsageError("--keep, --keep-all and --file exclude each other")
    if not paths and everywhere is None:
        raise click.UsageError("missing argument 'PATH'; with --keep-all MEMBER it may be left out")
    if new is not None and len(paths) != 1:
        raise click.UsageError("--file is for one PATH")
    request: dict[str, Any] = {
        "paths": [arguments.place_of(path) for path in paths],
        "member": member or everywhere,
        "lenient": everywhere is not None,
        "dry_run": dry_run,
        "new": None,
    }
    if new is not None:
        request["new"] = handed_in(home, request["paths"][0], new, dry_run)
    value = client.ask(home, "resolve", request, timeout_s=None)
    if machine:
        output.as_json(value)
    else:
        for result in value["resolved"]:
            click.echo(said(result, dry_run))
    return ExitCode.FOUND if any(result["error"] for result in value["resolved"]) else ExitCode.DONE


def handed_in(home: Home, path: bytes, file: str, dry_run: bool) -> dict[str, Any]:
    """Give the daemon the content of a file, and return what names it."""
    with open(file, "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        digest, table = blocks.hash_file(opened.fileno(), size)
        pieces = range(0, 0 if dry_run else block_count(size), BLOCKS_AT_ONCE)
        for first in pieces:
            part = [
                blocks.read_exactly(opened.fileno(), at, min(BLOCK_SIZE, size - at))
                for at in range(first * BLOCK_SIZE, min(size, (first + BLOCKS_AT_ONCE) * BLOCK_SIZE), BLOCK_SIZE)
            ]
            told = {"path": path, "hash": digest, "size": size, "table": table, "first": first, "blocks": part}
            client.ask(home, "content", told)
        if os.fstat(opened.fileno()).st_size != size:
            raise ConfigError(f"{file} is being written; wait until that has ended")
    return {"hash": digest, "size": size}


def said(result: dict[str, Any], dry_run: bool) -> str:
    """Return one line on what came of one path."""
    if result["error"]:
        return f"{result['path']}: {result['error']}"
    whose = f"the version of {result['kept']}" if result["kept"] else "what is live"
    if result["kind"] == "absent":
        whose = f"that {result['kept']} removed it"
    elif result["kind"] == "file" and not result["kept"]:
        whose = f"a new content of {output.size(result['size'])}"
    undo = f"; taken back by: {result['undo']}" if result["undo"] else ""
    return f"{result['path']}: {'would keep' if dry_run else 'kept'} {whose}{undo}"
