"""The table of `scripts/bench rivals`: a row a piece of work, and no figure where there is none."""

from scripts.benchmarks.rivals import table
from scripts.benchmarks.rivals.works import ENDED, Figures


def test_a_row_for_each_work_and_a_column_for_each_contender() -> None:
    found = {
        "csfs": [
            Figures("single write", writer=0.0, p50_ms=4.68, p99_ms=6.93),
            Figures("small files", writer=1.17, equal=1.99, wire=23_342_532, cpu=3.0),
            Figures("rename", equal=0.15, wire=1_526, cpu=0.29),
            Figures("idle", wire=4_578, cpu=0.09, memory_mib=126.2),
        ],
        "other": [
            Figures("single write", p50_ms=1010.2, p99_ms=1518.0, problem="single-3 was not visible within 10 s"),
            Figures("small files", equal=12.4, wire=999, cpu=5.0),
            Figures(ENDED, problem="TimeoutError: 3 paths differ"),
        ],
    }
    assert table.lines(found) == [
        "| | csfs | other |",
        "| --- | --- | --- |",
        "| single write | 4.7 / 6.9 ms | 1,010 / 1,518 ms, single-3 was not visible within 10 s |",
        "| small files | 1.99 s, 23.3 MB, 3.00 s CPU | 12 s, 999 B, 5.00 s CPU |",
        "| rename | 0.15 s, 1.5 kB, 0.29 s CPU | failed |",
        "| idle | 0.09 s CPU, 126 MiB | failed |",
    ]
