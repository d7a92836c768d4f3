"""What a shell may put in for a half-written argument. Trouble of any kind means no proposals: nobody has pressed Enter yet."""

import click
from click.shell_completion import CompletionItem

from csfs.cli import arguments, client
from csfs.config import files, home
from csfs.config.home import Home
from csfs.config.settings import OFF
from csfs.errors import CsfsError

ANSWER_S_MAX = 1.0


def members(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose the cluster's members."""
    try:
        names = files.loaded(_home(context)).member_names
    except (CsfsError, OSError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def versions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose the versions of the path that was said before."""
    path = context.params.get("path")
    if not isinstance(path, str):
        return []
    try:
        request = {"path": arguments.place_of(path), "limit": 100}
        told = client.ask(_home(context), "history", request, timeout_s=ANSWER_S_MAX)["versions"]
    except (CsfsError, OSError):
        return []
    own = [version["version"] for version in told if version["path"] == told[0]["path"]]
    return [CompletionItem(version) for version in own if version.startswith(incomplete)]


def nowhere(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose what stands for no address at all."""
    return [CompletionItem(OFF)] if OFF.startswith(incomplete) else []


def _home(context: click.Context) -> Home:
    return home.chosen(context.find_root().params.get("directory"))
