"""`csfs umount`: the directory is an ordinary one again."""

import click

from csfs.cli import mounting
from csfs.config.home import Home
from csfs.mount import parent


@click.command("umount")
@click.argument("path", type=click.Path())
@click.option("--lazy", is_flag=True, help="Also while programs use it: they keep what they have open.")
@click.pass_obj
def command(home: Home, path: str, lazy: bool) -> None:
    """Unmount the volume whose directory is PATH; return when its processes have ended."""
    settings = mounting.mounted_settings(home, path)
    parent.stop(settings, settings.volume, lazy=lazy)
