"""Backups of simulated hosts, and hosts that become what they were."""

from copy import copy

from scripts.simulation.host import Host
from scripts.simulation.saved import Saved


def saved(host: Host) -> Saved:
    """Return a backup of everything."""
    index = copy(host.index)
    for name, value in vars(host.index).items():
        if isinstance(value, dict | list | set):
            setattr(index, name, value.copy())
    tree = host.tree.copied()
    looks = host.programs.looks.items()
    for path in tree.nodes.keys() & {path for path, look in looks if look.moved_from or look.linked_from}:
        tree.nodes[path].unsure = True  # nobody knows any more where it came from
    return Saved(
        tree,
        index,
        frozenset(host.kept),
        frozenset(host.retained),
        dict(host.cursors),
        list(host.scopes),
        host.pulling,
        frozenset(host.held),
        dict(host.intents),
        host.wholes.moving,
        dict(host.authors),
        host.programs.touched | host.programs.unsettled,
        dict(host.brake.waiting.by_path),
        {path: dict(held) for path, held in host.merging.bases.items()},
        (host.incarnation, host.index_id),
        host.programs.ledger.steps,
        host.programs.forgotten,
    )


def restore(host: Host, backup: Saved, *, booting: bool) -> None:
    """Have a host start with everything as it was, on a new boot or without anybody noticing."""
    minted, following = host.index.minted, host.index.minted_following
    ticks, inodes, grants, enabled = host.tree.ticks, host.tree.inodes, host.tree.grants, host.tree.enabled
    host.tree, host.index, host.kept = backup.tree, backup.rows, set(backup.kept)
    host.cursors, host.scopes, host.pulling = backup.cursors, backup.scopes, backup.pulling
    host.held = set(backup.held)
    host.lapsed |= host.retained
    host.retained = set(backup.retained)
    host.intents, host.authors, host.merging.bases = backup.intents, backup.authors, backup.bases
    host.wholes.moving = backup.moving
    host.brake.restart(backup.waiting, host.index)
    host.tree.grants |= grants
    host.tree.enabled |= enabled
    host.tree.ticks, host.tree.inodes = ticks, inodes
    host.index.minted, host.index.minted_following = minted, following
    host.programs.tree, host.programs.touched = host.tree, backup.touched
    host.programs.forgotten = (*backup.forgotten, range(backup.step + 1, host.programs.ledger.steps + 1))
    host.programs.looks.clear()
    host.programs.marks.clear()
    host.programs.open.clear()
    host.programs.outside.forget()
    host.cache.clear()
    host.incarnation, host.index_id = backup.life
    host.relived = host.incarnation
    if booting:
        host.boot()
    else:
        host.start()
    host.look_at_all()
