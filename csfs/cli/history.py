"""`csfs history`: the live version of a path, and those that are kept."""

from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from csfs.cli import arguments, client, output
from csfs.config.home import Home

LIMIT = 100


@click.command("history")
@click.argument("path", type=click.Path())
@click.option(
    "--limit", type=click.IntRange(min=1, max=10_000), default=LIMIT, show_default=True, help="Show no more than this."
)
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def command(home: Home, path: str, limit: int, machine: bool) -> None:
    """Show the versions of PATH that this host has, the newest first; of a directory also those of everything below it."""
    value = client.ask(home, "history", {"path": arguments.place_of(path), "limit": limit})
    if machine:
        output.as_json(value)
    else:
        output.console().print(shown(value))


def shown(value: dict[str, Any]) -> RenderableType:
    """Return a history for people."""
    versions = value["versions"]
    if not versions:
        return Text(f"nothing is kept of {value['path']}")
    several = any(version["path"] != value["path"] for version in versions)
    table = output.table(
        "version", "written", "by", "kind", "#size", "mode", "owner", "displaced", "why", *["path"] * several
    )
    for version in versions:
        path = version["path"] + (" (gone)" if version.get("gone") else "")
        table.add_row(
            version["version"],
            output.moment(version["mtime_ns"]),
            Text(version["member"]),
            "nothing" if version["kind"] == "absent" else version["kind"],
            output.size(version["size"]) if version["kind"] == "file" else "",
            version["mode"],
            Text(f"{version['owner']}:{version['group']}" if version["owner"] else ""),
            output.moment(version["kept_ns"]),
            Text(_why(version)),
            *[Text(path)] * several,
        )
    more = [Text(f"there are more; --limit shows more than {len(versions)}")] if value["more"] else []
    return Group(table, *more)


def _why(version: dict[str, Any]) -> str:
    by = version["by"] or "a peer"
    reasons = {
        "replaced": f"replaced by {by}",
        "removed": f"removed by {by}",
        "conflict": f"lost against {by}" if version["by"] else "lost a conflict",
        "resolved": "csfs resolve",
        "restored": "csfs restore",
        "written": "written to after it was displaced",
        "stored": "stored for a peer whose program waited for that",
        "found": "left by a crash",
    }
    elsewhere = "" if version.get("here", True) else "; its content is at a peer"
    return reasons.get(version["cause"], "") + elsewhere
