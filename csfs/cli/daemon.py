"""`csfs daemon`: the daemon in the foreground, what the systemd unit runs."""

import click

from csfs.config import files
from csfs.config.home import Home
from csfs.daemon.main import run


@click.command("daemon")
@click.pass_obj
def command(home: Home) -> None:
    """Run the daemon in the foreground."""
    files.loaded_both(home)  # its complaints come before anything is opened
    home.made()
    run(home)
