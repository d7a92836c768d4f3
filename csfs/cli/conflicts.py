"""`csfs conflicts`: paths of which several versions stand side by side, until somebody settles them."""

from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from csfs.cli import arguments, client, output
from csfs.config.home import Home
from csfs.errors import ExitCode

HASH_SHOWN = 12


@click.command("conflicts")
@click.argument("path", required=False, type=click.Path())
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def command(home: Home, path: str | None, machine: bool) -> int:
    """List what members changed without having seen each other, everywhere or below PATH. Exit code 1: there are some."""
    found = client.ask(home, "conflicts", {"paths": [arguments.place_of(path)] if path is not None else []})
    if machine:
        output.as_json(found)
    else:
        output.console().print(shown(found) if found else "no conflicts")
    return ExitCode.FOUND if found else ExitCode.DONE


def shown(found: list[dict[str, Any]]) -> RenderableType:
    """Return conflicts for people."""
    parts: list[RenderableType] = []
    for conflict in found:
        about = "content" if conflict["half"] == "content" else "attributes"
        parts.append(Text(f"{conflict['path']}: {about}, policy {', '.join(conflict['policy'])}"))
        table = output.table("", "member", "time", "kind", "#size", "mode", "owner", "content", "kept")
        for version in conflict["versions"]:
            table.add_row(
                "live" if version["live"] else "",
                Text(version["member"] or "?"),
                output.moment(version["mtime_ns"]),
                version["kind"],
                output.size(version["size"]) if version["kind"] == "file" and about == "content" else "",
                version["mode"],
                Text(f"{version['owner']}:{version['group']}" if version["owner"] else ""),
                Text(version["hash"][:HASH_SHOWN] or version["target"]),
                Text(_where(conflict, version)),
            )
        parts += [table, Text()]
    return Group(*parts, Text("settle them with: csfs resolve PATH, or csfs resolve PATH --keep MEMBER"))


def _where(conflict: dict[str, Any], version: dict[str, Any]) -> str:
    if version["live"] or conflict["half"] != "content":
        return ""
    return f"here, as {version['kept']}" if version["kept"] else f"at {version['member'] or '?'}"
