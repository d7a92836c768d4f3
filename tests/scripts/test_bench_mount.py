"""What `scripts/bench mount` makes of its figures."""

from scripts.benchmarks.mount_aims import AIMS, Row, heading
from scripts.benchmarks.mount_operations import OPERATIONS


def row(operation: str, native: float, csfs: float, bindfs: float) -> Row:
    return Row(operation, {"native": native, "csfs": csfs, "bindfs": bindfs})


def test_every_aim_is_of_an_operation_that_is_measured() -> None:
    assert set(AIMS) <= set(OPERATIONS)


def test_an_aim_is_met_by_a_ratio_of_medians() -> None:
    assert row("chmod", 1e-6, 10e-6, 9.5e-6).verdicts() == {"bindfs": True}
    assert row("chmod", 1e-6, 10e-6, 8e-6).verdicts() == {"bindfs": False}
    assert row("stat", 1e-6, 1.05e-6, 1.04e-6).verdicts() == {"native": True, "bindfs": True}
    assert row("stat", 1e-6, 1.5e-6, 1.5e-6).verdicts() == {"native": False, "bindfs": True}
    assert row("chown", 1e-6, 90e-6, 9e-6).verdicts() == {}


def test_an_aim_against_what_was_not_measured_has_no_verdict() -> None:
    assert Row("chmod", {"native": 1e-6, "csfs": 2e-6}).verdicts() == {}


def test_a_missed_aim_stands_beside_its_figures() -> None:
    line = row("chmod", 4e-6, 40e-6, 20e-6).as_text(1e-6)
    assert line.split() == ["chmod", "4.0", "40.0", "20.0", "0.10", "0.50", "MISSED", "(>=", "0.9", "bindfs)"]
    assert heading(["native", "csfs", "bindfs"], "us").split() == (
        ["us", "native", "csfs", "bindfs", "x", "native", "x", "bindfs", "aims"]
    )
    assert row("chmod", 4e-6, 40e-6, 20e-6).as_json()["aims"] == {"bindfs": {"at least": 0.9, "met": False}}
