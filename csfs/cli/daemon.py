"""`csfs daemon`: the daemon in the foreground, what the systemd unit runs."""

import click

from csfs.cli import starting
from csfs.config import files
from csfs.config.home import Home


@click.command("daemon")
@click.option("--stop", is_flag=True, help="End the daemon that runs, and return when it has ended; mounts go on.")
@click.pass_obj
def command(home: Home, stop: bool) -> None:
    """Run the daemon in the foreground."""
    if stop:
        starting.stop_daemon(home)
        return
    from csfs.daemon.main import run  # a tenth of a second that --stop has no use for

    files.loaded_both(home)  # its complaints come before anything is opened
    home.made()
    run(home)
