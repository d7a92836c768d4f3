"""What `scripts/bench mount` is held to: ratios of medians, and whether they are met."""

from dataclasses import dataclass

AIMS: dict[str, dict[str, float]] = {
    "stat": {"native": 0.9, "bindfs": 1.0},
    "stat, full path": {"native": 0.9, "bindfs": 1.0},
    "walk, a file": {"native": 0.9},
    "re-read 4 KiB": {"native": 0.9},
    "lookup": {"bindfs": 1.0},
    "readdir": {"bindfs": 1.0},
    "create + 4 KiB": {"bindfs": 0.9},
    "unlink": {"bindfs": 0.9},
    "chmod": {"bindfs": 0.9},
    "rename": {"bindfs": 0.9},
    "write 4 KiB": {"bindfs": 1.0},
    "write 32 MiB": {"bindfs": 1.0},
    "read 32 MiB": {"bindfs": 1.0},
}
"""By operation and subject: how fast csfs has to be beside it, 1 being as fast."""
TOLERANCE = 0.03
"""What the kernel answers by itself takes the same time twice to within this: less is no difference."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one operation: seconds by subject."""

    operation: str
    medians: dict[str, float]

    def speed(self, other: str) -> float:
        """Return how fast csfs is beside another subject: 2 is twice as fast."""
        return self.medians[other] / self.medians["csfs"]

    def verdicts(self) -> dict[str, bool]:
        """Return whether each aim is met, by the subject that it names; aims against what was not measured are left out."""
        aims = AIMS.get(self.operation, {})
        return {other: self.speed(other) >= aim - TOLERANCE for other, aim in aims.items() if other in self.medians}

    def as_json(self) -> dict[str, object]:
        others = [name for name in self.medians if name != "csfs"]
        return {
            "operation": self.operation,
            "microseconds": {name: round(seconds * 1e6, 2) for name, seconds in self.medians.items()},
            "speed": {other: round(self.speed(other), 3) for other in others},
            "aims": {
                other: {"at least": AIMS[self.operation][other], "met": met} for other, met in self.verdicts().items()
            },
        }

    def as_text(self, unit_s: float) -> str:
        """Return the row of a table: times in units of `unit_s`, speeds, and the aims."""
        times = "".join(f"{seconds / unit_s:>10.1f}" for seconds in self.medians.values())
        speeds = "".join(f"{self.speed(other):>10.2f}" for other in self.medians if other != "csfs")
        aims = [
            f"{'met' if met else 'MISSED'} (>= {AIMS[self.operation][other]:.1f} {other})"
            for other, met in self.verdicts().items()
        ]
        return f"{self.operation:<18}{times}{speeds}  {', '.join(aims)}".rstrip()


def heading(names: list[str], unit: str) -> str:
    """Return the first line of a table."""
    others = [f"x {name}" for name in names if name != "csfs"]
    return f"{unit:<18}" + "".join(f"{name:>10}" for name in (*names, *others)) + "  aims"
