"""What commands print: JSON for programs, plain tables for people."""

import json
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 500
"""Columns when nobody looks: nothing is cut short for grep."""


def as_json(value: Any) -> None:
    """Print `value` as JSON on one line."""
    click.echo(json.dumps(value, ensure_ascii="utf" not in (sys.stdout.encoding or "utf-8").lower()))


def console() -> Console:
    """Return where tables go; colours and width are those of the terminal, if it is one. Names are shown as they are, `[b]` too."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def table(*columns: str) -> Table:
    """Return an empty table; columns whose heading begins with `#` are numbers, to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(
            column.removeprefix("#"), justify="right" if column.startswith("#") else "left", overflow="fold"
        )
    return made


def seconds(value: float) -> str:
    """Return a duration for people."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h"


def absence(peer: dict[str, Any], now_s: float) -> str:
    """Return since when a peer is away, as far as the daemon was there, and why."""
    since = f" for {seconds(max(0.0, now_s - peer['since']))}" if peer["since"] is not None else ""
    reason = peer["error"].removeprefix(f"{peer['name']}: ")
    return f"not connected{since}{': ' if reason else ''}{reason}"


def size(value: int) -> str:
    """Return a number of bytes for people."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def counted(count: int, what: str) -> str:
    """Return how many there are of `what`, in the words of a person."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def moment(time_ns: int | None) -> str:
    """Return a time for people, this host's; empty for none."""
    if not time_ns:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns / 1e9))


def progress(value: dict[str, Any]) -> str:
    """Return how far something is, in one line: what is done of what, how fast, and how long it will take."""
    paths, done = value["paths"], value["paths"] - value["paths_left"]
    parts = [f"{done:,} of {counted(paths, 'path')}"]
    if value["bytes"]:
        parts.append(f"{size(value['bytes'] - value['bytes_left'])} of {size(value['bytes'])}")
    if value["bytes_per_s"]:
        parts.append(f"{size(int(value['bytes_per_s']))}/s")
    elif value["paths_per_s"]:
        parts.append(f"{value['paths_per_s']:,.0f} paths/s")
    if value["seconds_left"] is not None:
        parts.append(f"{seconds(value['seconds_left'])} left")
    return ", ".join(parts)
