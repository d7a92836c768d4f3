"""`csfs umount`: the directory is an ordinary one again."""

import click

from csfs.cli import mounting
from csfs.config.home import Home
from csfs.errors import FoundError, NotRunningError
from csfs.mount import parent


@click.command("umount")
@click.argument("path", type=click.Path())
@click.option("--lazy", is_flag=True, help="Also while programs use it: they keep what they have open.")
@click.option(
    "--always", is_flag=True, help="Whatever there is: lazily if it is busy; not at all if nothing is mounted."
)
@click.pass_obj
def command(home: Home, path: str, lazy: bool, always: bool) -> None:
    """Unmount the volume whose directory is PATH; return when its processes have ended."""
    settings = mounting.mounted_settings(home, path)
    try:
        parent.stop(settings, settings.volume, lazy=lazy)
    except NotRunningError:
        if not always:
            raise
    except FoundError as error:
        if not always:
            raise
        click.echo(f"csfs: {error}", err=True)
        parent.stop(settings, settings.volume, lazy=True)
