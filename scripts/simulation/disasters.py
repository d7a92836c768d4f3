"""What a power cut leaves a simulated member with, besides its tree: the index of now or of before, and a boot."""

from scripts.simulation.host import Host
from scripts.simulation.saved import Saved


def take_index(host: Host, saved: Saved) -> None:
    """Have the index of another time."""
    minted, following = host.index.minted, host.index.minted_following
    host.index, host.intents, host.wholes.moving = saved.rows, saved.intents, saved.moving
    host.cursors, host.scopes, host.pulling, host.authors = saved.cursors, saved.scopes, saved.pulling, saved.authors
    host.held, host.merging.bases = set(saved.held), saved.bases
    host.brake.restart(saved.waiting, host.index)
    host.index.minted, host.index.minted_following = minted, following


def reboot_after_cut(host: Host) -> None:
    """Boot with what a power cut has left, and compare everything."""
    host.restored = True
    host.index.rollback()
    host.cache.clear()
    host.programs.looks.clear()
    host.programs.marks.clear()
    host.programs.open.clear()
    host.programs.outside.forget()
    host.boot()
    host.look_at_all()
    host.programs.touched |= host.programs.looks.keys()
