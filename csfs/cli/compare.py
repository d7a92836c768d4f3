"""`csfs compare`: finds what was changed without the mount, now."""

import click

from csfs.cli import arguments, client, output, underneath
from csfs.config.home import Home
from csfs.errors import ExitCode


@click.command("compare")
@click.argument("path", type=click.Path())
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def command(home: Home, path: str, machine: bool) -> int:
    """Find what was changed without the mount at or below PATH, and send it like any other change. Exit code 1: there was something."""
    value = client.ask(home, "compare", {"path": arguments.place_of(path)}, timeout_s=None)
    if machine:
        output.as_json(value)
    else:
        for change in value["changes"]:
            click.echo(f"{value['volume']}: {underneath.change(change)}")
        click.echo(f"{output.counted(value['paths'], 'path')}, {len(value['changes'])} changed without the mount")
    return ExitCode.FOUND if value["changes"] else ExitCode.DONE
