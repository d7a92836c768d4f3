"""Commands of the configuration: validators, asked before a file becomes live, and actions, run after something has changed."""

from dataclasses import dataclass

from csfs.config import durations
from csfs.config.tables import Table
from csfs.config.values import duration, one_of, pattern
from csfs.core.groups import Pattern

FILE_PLACEHOLDER = "{file}"
"""Stands for the file in a validator's command."""
APPLIED, CHANGED, LOCAL, CONFLICT = OCCASIONS = ("applied", "changed", "local", "conflict")
"""What an action is run for: what came from other members, that and what programs of this host did, the latter alone, new conflicts."""
DEFAULT_SETTLE = "1s"
DEFAULT_TIMEOUT = "60s"


@dataclass(frozen=True, slots=True)
class ValidatorSettings:
    """A command that says whether a file at one of `paths` may become live: exit code 0, it may.

    `command` is an argument list, in which `{file}` stands for the file. `optional`: where the command is missing, nobody minds.
    """

    paths: tuple[str, ...]
    command: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ActionSettings:
    """A command that is run once some paths have changed and `settle` has passed without another one of them changing.

    `command` is an argument list; `on`: one of `OCCASIONS`; `members`: where it is run, empty for everywhere.
    """

    paths: tuple[str, ...]
    command: tuple[str, ...]
    on: str = APPLIED
    members: tuple[str, ...] = ()
    settle: str = DEFAULT_SETTLE
    timeout: str = DEFAULT_TIMEOUT

    @property
    def settle_s(self) -> float:
        """How long nothing more may have changed."""
        return durations.parsed(self.settle)

    @property
    def timeout_s(self) -> float:
        """How long it may take."""
        return durations.parsed(self.timeout)


def validator_of(table: Table) -> ValidatorSettings:
    """Return what a table says of a validator."""
    paths, command = _paths(table), _command(table)
    if command and not any(FILE_PLACEHOLDER in argument for argument in command[1:]):
        table.complain("command", f'has no "{FILE_PLACEHOLDER}", which stands for the file that is to be checked')
    table.finish()
    return ValidatorSettings(paths, command)


def action_of(table: Table, cluster: tuple[str, ...]) -> ActionSettings:
    """Return what a table says of an action; `cluster` has the names of all members."""
    paths, command = _paths(table), _command(table)
    if any(FILE_PLACEHOLDER in argument for argument in command):
        table.complain(
            "command",
            f'has "{FILE_PLACEHOLDER}", but an action reads all paths from its standard input, NUL after each',
        )
    on = table.choice("on", OCCASIONS, APPLIED)
    members = table.parsed("members", (), one_of("member", cluster))
    settle, timeout = duration(table, "settle", DEFAULT_SETTLE), duration(table, "timeout", DEFAULT_TIMEOUT)
    table.finish()
    return ActionSettings(paths, command, on, members, settle, timeout)


def _paths(table: Table) -> tuple[str, ...]:
    paths = table.parsed("paths", (), pattern(Pattern.compiled))
    if not paths:
        table.complain("paths", 'is missing; write the patterns of the files that it is for, such as ["/sudoers"]')
    return paths


def _command(table: Table) -> tuple[str, ...]:
    command = table.arguments("command")
    if command and "/" in command[0] and not command[0].startswith("/"):
        table.complain(
            "command", f'"{command[0]}" must be a bare name, found in the usual directories, or a whole path'
        )
    return command
