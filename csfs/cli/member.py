"""`csfs member list|remove`: who is of the cluster."""

import time
from typing import Any

import click

from csfs.cli import arguments, client, output, starting
from csfs.cli.groups import Group
from csfs.config import files
from csfs.config.home import Home
from csfs.errors import ExitCode


@click.group("member", cls=Group)
def command() -> None:
    """Say who is of the cluster."""


@command.command("list")
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def list_members(home: Home, machine: bool) -> None:
    """List the members, where they are called, and whether they are connected to this one."""
    value = client.ask(home, "members")
    if machine:
        output.as_json(value)
        return
    table = output.table("member", "address", "link")
    for member in value:
        table.add_row(member["name"], ", ".join(member["address"]) or "-", _link(member))
    output.console().print(table)


@command.command("remove")
@click.argument("name", type=arguments.name, metavar="MEMBER")
@click.option("--dry-run", is_flag=True, help="Say what would be lost with it, and do nothing.")
@click.option("--json", "machine", is_flag=True, help="For programs.")
@click.pass_obj
def remove(home: Home, name: str, dry_run: bool, machine: bool) -> int:
    """Take MEMBER out of the cluster: no other member lets it in any more. Versions that it alone had the content of, and others
    wait for, are superseded by what this host shows. Exit code 1: that could not be done everywhere."""
    files.loaded_both(home)[0].member(name)
    starting.ensure_daemon(home)
    value = client.ask(home, "member_remove", {"member": name, "dry_run": dry_run}, timeout_s=None)
    if machine:
        output.as_json(value)
    else:
        _show(value, dry_run)
    return ExitCode.FOUND if value["errors"] else ExitCode.DONE


def _show(value: dict[str, Any], dry_run: bool) -> None:
    for lost in value["lost"]:
        instead = "nothing" if lost["shown"] == "absent" else "what is shown here"
        click.echo(f"{lost['path']}: {value['member']} alone had its content; {instead} is live instead")
    for failed in value["errors"]:
        click.echo(f"{failed['path']}: {failed['error']}")
    if value["not_connected"]:
        click.echo(f"not asked, being away: {', '.join(value['not_connected'])}; what they have is kept there")
    click.echo(f"{value['member']} {'would be' if dry_run else 'is'} no longer a member")


def _link(member: dict[str, Any]) -> str:
    if member["here"]:
        return "this host"
    if member["connected"]:
        since = f" for {output.seconds(max(0.0, time.time() - member['since']))}" if member["since"] else ""
        return f"connected{since}"
    return output.absence(member, time.time())
