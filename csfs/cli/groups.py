"""Commands that have commands below them."""

import sys

import click


class Group(click.Group):
    """Lists its commands with the whole of their first sentence: click cuts it off where a line ends."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(limit=sys.maxsize)) for name, one in found if one is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
