"""What the demonstration says: one line for each thing that happened; colours and a spinner on a terminal only."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from csfs.cli import output

WIDTH = 44


class Screen:
    """Where the lines go."""

    def __init__(self) -> None:
        self.console: Console = output.console()

    def say(self, text: str = "", style: str = "") -> None:
        """Print one line, as it is."""
        self.console.print(Text(text, style), soft_wrap=True)

    def title(self, text: str) -> None:
        """Print the heading of a part."""
        self.say()
        self.say(text, "bold")

    def row(self, who: str, what: str, *figures: str, style: str = "") -> None:
        """Print who did what, and the figures of it."""
        line = Text(f"  {who:<7}", "cyan")
        line.append(f"{what:<{WIDTH}}", "")
        for figure in figures:
            line.append(f"{figure:>12}", style)
        self.console.print(line, soft_wrap=True)

    @contextmanager
    def timed(self, who: str, what: str) -> Iterator[None]:
        """Show that something is under way, and when it is done, how long it took."""
        begin = time.perf_counter()
        with self.busy(what):
            yield
        self.row(who, what, output.seconds(time.perf_counter() - begin), style="green")

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something is under way, where a line can be taken back."""
        if not sys.stdout.isatty():
            yield
            return
        with self.console.status(what):
            yield


def milliseconds(seconds: float) -> str:
    """Return a short duration for people."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
