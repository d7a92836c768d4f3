"""A simulated member that is killed in the middle of a commit."""

import msgspec

from csfs.core.objects import Kind, Meta
from csfs.core.paths import RelPath
from csfs.engine.live import is_exactly, meta_of
from csfs.engine.ports import Plan, Step
from csfs.replicate.linking import Leaders
from scripts.simulation import rights
from scripts.simulation.dice import Dice
from scripts.simulation.host import Host
from scripts.simulation.links import Batch, Link


def die_applying(host: Host, dice: Dice, now_ns: int) -> bool:
    """Be killed in the middle of one commit; return whether there was one."""
    pending = host.index.pending()
    plans = [_with_kept_name(host, plan) for path in pending if (plan := host._plan(path, now_ns)) is not None]
    if not plans:
        return False
    together = _one_inode(plans)
    if together and dice.one_in(2):
        host.intents.update({plan.path: plan for plan in together})
        for plan in together[: dice.below(len(together) + 1)]:
            host._carry_out(plan, now_ns)
            host.tree.nodes[plan.path].unsure = True
        return True
    halves = [plan for plan in plans if plan.step is Step.ATTRIBUTES and _sets_meta(plan)]
    plan = dice.choice(halves if halves and dice.one_in(2) else plans)
    host.intents[plan.path] = plan
    node, meta = host.tree.nodes.get(plan.path), plan.meta
    if plan.step is not Step.ATTRIBUTES:
        if dice.one_in(2):
            host._carry_out(plan, now_ns)
            if plan.path in host.tree.nodes:
                host.tree.nodes[plan.path].unsure = True
    elif node is not None and meta is not None:
        owners_only = Meta(node.mode, meta.uid, meta.gid, meta.owner, meta.group)
        mode_only = Meta(meta.mode, node.uid, node.gid)
        set_so_far, flags = dice.choice((owners_only, mode_only, meta)), (node.flags, node.flags_meant)
        lists, capability = (node.acl, node.rights_meant), node.capability
        host.tree.set_attributes(node, set_so_far, None)
        shown = host.tree.observed(plan.path)
        assert shown is not None
        is_shown = is_exactly(set_so_far, meta_of(shown))
        if set_so_far is not meta:
            node.flags, node.flags_meant = flags  # they come last
            node.acl, node.rights_meant = lists
        if set_so_far is mode_only:
            node.acl = rights.under(node.acl, node.mode)
            node.capability = capability  # which a new owner takes away
        else:
            # Nobody has recorded what this host cannot show: who renames it now has what the disk says.
            node.unsure = node.unsure or not is_shown
    return True


def die_moving(link: Link, dice: Dice, now_ns: int) -> bool:
    """Be killed in the middle of renaming a directory as the peer of this link has; return whether that was to be."""
    host, batch = link.target, link.flying[0]
    assert isinstance(batch, Batch)
    move, wholes = batch.out.move, host.wholes
    if move is None or not wholes.may_follow(link.source.name, batch.out.scope, move, now_ns):
        return False
    wholes.moving = wholes.agreed(batch.out.scope, move)
    if dice.one_in(2):
        wholes.rename(move, now_ns)
    return True


def _one_inode(plans: list[Plan]) -> list[Plan]:
    """Return plans that are carried out together, the first of which builds what the others are linked to; none if there are none."""
    leaders, found = Leaders(), dict[RelPath | None, list[Plan]]()
    for plan in plans:
        followed = leaders.followed(plan)
        leaders.lead(followed)
        found.setdefault(followed.path if followed is plan else followed.link, []).append(followed)
    return next((together for together in found.values() if len(together) > 1), [])


def _with_kept_name(host: Host, plan: Plan) -> Plan:
    """Return a plan that says under which name what it takes away goes to the kept store, if anything of worth is."""
    base = plan.base
    if plan.step is Step.ATTRIBUTES or base is None or base.kind is Kind.DIRECTORY:
        return plan
    is_elsewhere = any(
        node.data == host.tree.nodes[plan.path].data for path, node in host.tree.nodes.items() if path != plan.path
    )
    if not plan.keep and (base.kind is not Kind.FILE or base.size == 0 or is_elsewhere):
        return plan
    return msgspec.structs.replace(plan, kept=b"%d.%b" % (base.stamp.inode, plan.path))


def _sets_meta(plan: Plan) -> bool:
    """Return whether more than a time is to be set."""
    base, meta = plan.base, plan.meta
    return base is not None and meta is not None and (base.mode, base.uid, base.gid) != (meta.mode, meta.uid, meta.gid)
