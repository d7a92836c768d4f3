"""What is said of changes made without the mount, and of who is likely to make them."""

from typing import Any

CHANGES_SHOWN_MAX = 5
PASSING_SHOWN_MAX = 5


def change(found: dict[str, Any]) -> str:
    """Return one change that was made without the mount, for people; its path is that in the volume."""
    program = found["program"] or "a process that has ended"
    by = f", by {program} ({found['pid']})" if found["pid"] else ""
    return f"{found['path'] or '.'}: {found['what']}{by}"


def changes(found: dict[str, Any]) -> list[str]:
    """Return what there is to be said of the changes of one volume."""
    lines = [f"changes under the mount are found by comparing alone: {found['reason']}"] if found["reason"] else []
    lines += [f"changed under the mount: {change(one)}" for one in found["changes"][-CHANGES_SHOWN_MAX:]]
    if found["count"] > CHANGES_SHOWN_MAX:
        lines.append(f"{found['count']} changes under the mount in all; see --json")
    return lines


def passing(found: dict[str, Any]) -> list[str]:
    """Return who passes a mount by, and what to do about it."""
    if not found["passing"]:
        return []
    shown = [f"{one['program']} ({one['pid']}) {one['how']}" for one in found["passing"][:PASSING_SHOWN_MAX]]
    more = len(found["passing"]) - len(shown)
    rest = f", and {more} more (csfs status --json)" if more else ""
    return [f"what came before the mount passes it by until it is started again: {', '.join(shown)}{rest}"]
