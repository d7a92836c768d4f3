"""All contenders in one table: a row a piece of work, a column a contender. README shows it."""

from collections.abc import Mapping, Sequence

from scripts.benchmarks.rivals.works import ENDED, Figures

FAILED = "failed"


def lines(found: Mapping[str, Sequence[Figures]]) -> list[str]:
    """Return the table as lines of Markdown, from what each contender took by its name."""
    works = list(dict.fromkeys(one.work for figures in found.values() for one in figures if one.work != ENDED))
    return [
        f"| | {' | '.join(found)} |",
        f"|{' --- |' * (len(found) + 1)}",
        *(f"| {work} | {' | '.join(cell(_of(work, figures)) for figures in found.values())} |" for work in works),
    ]


def cell(figures: Figures | None) -> str:
    """Return what one contender took for one piece of work: time, bytes on the wire, CPU, memory, as far as measured."""
    if figures is None:
        return FAILED
    text = _measured(figures)
    return ", ".join(part for part in (text, figures.problem) if part) or FAILED


def _measured(figures: Figures) -> str:
    if figures.p50_ms is not None and figures.p99_ms is not None:
        return f"{_short(figures.p50_ms)} / {_short(figures.p99_ms)} ms"
    parts = []
    if figures.equal is not None:
        parts.append(f"{figures.equal:.2f} s" if figures.equal < 10 else f"{figures.equal:.0f} s")
        if figures.wire is not None:
            parts.append(_size(figures.wire))
    if figures.cpu is not None:
        parts.append(f"{figures.cpu:.2f} s CPU")
    if figures.memory_mib is not None:
        parts.append(f"{figures.memory_mib:,.0f} MiB")
    return ", ".join(parts)


def _of(work: str, figures: Sequence[Figures]) -> Figures | None:
    return next((one for one in figures if one.work == work), None)


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def _size(size: int) -> str:
    for unit, name in ((1_000_000, "MB"), (1_000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
