"""What is reported as changed without the mount, and what is not."""

import logging

import msgspec
import pytest

from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.replicate import findings as findings_module
from csfs.replicate.findings import Culprit, Findings
from csfs.replicate.sparing import LINES_MAX

FILE = Observation(
    stamp=Stamp(7, 3, 1, 1), kind=Kind.FILE, mode=0o644, uid=0, gid=0, mtime_ns=1, size=3, hash=b"x" * 32
)
DIRECTORY = Observation(stamp=Stamp(8, 0, 1, 1), kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, mtime_ns=1)
PATH = RelPath(b"d/file")


def changed(observation: Observation, **fields: object) -> Observation:
    return msgspec.structs.replace(observation, **fields)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (None, FILE, "created"),
        (FILE, None, "removed"),
        (FILE, DIRECTORY, "replaced"),
        (FILE, changed(FILE, hash=b"y" * 32), "written"),
        (FILE, changed(FILE, mode=0o600), "attributes"),
        (FILE, changed(FILE, mtime_ns=2), "attributes"),
        (DIRECTORY, changed(DIRECTORY, mode=0o700), "attributes"),
    ],
)
def test_what_became_of_a_path_that_somebody_touched_is_reported(
    before: Observation | None, after: Observation | None, what: str
) -> None:
    findings = Findings("v")
    findings.suspect(PATH, Culprit(12, "vi"))
    findings.looked(PATH, before, after)
    [finding] = findings.recent
    assert (finding.path, finding.what, finding.culprit) == (PATH, what, Culprit(12, "vi"))
    [stale] = findings.taken_stale(10)
    assert (stale.path, stale.inode) == (PATH, before.stamp.inode if before else 0)


@pytest.mark.parametrize("after", [FILE, changed(FILE, stamp=Stamp(7, 3, 1, 9))])
def test_what_is_as_it_was_is_not_reported(after: Observation) -> None:
    findings = Findings("v")
    findings.suspect(PATH, Culprit(12, "vi"))
    findings.looked(PATH, FILE, after)
    assert findings.count == 0
    findings.looked(PATH, FILE, changed(FILE, mode=0))
    assert findings.count == 0, "nobody is suspected any more: that change passed the mount"


def test_a_directory_whose_entries_changed_is_not_reported() -> None:
    findings = Findings("v")
    findings.suspect(PATH, Culprit(12, "vi"))
    findings.looked(PATH, DIRECTORY, changed(DIRECTORY, mtime_ns=2, stamp=Stamp(8, 0, 2, 2)))
    assert findings.count == 0


def test_what_a_comparison_finds_is_reported_when_the_mount_has_not_explained_it() -> None:
    findings = Findings("v")
    findings.comparing = True
    for name in (b"a", b"b/c", b"b/d", b"e"):
        findings.looked(RelPath(name), FILE, None, compared=True)
    findings.explained(RelPath(b"a"))
    findings.explained(RelPath(b"x"), RelPath(b"b"))
    assert findings.count == 0
    assert [finding.path for finding in findings.confirmed()] == [b"e"]
    assert findings.count == 1
    assert findings.confirmed() == []


def test_the_comparison_at_a_mount_reports_nothing_but_has_the_kernel_ask_anew() -> None:
    findings = Findings("v")
    findings.looked(PATH, FILE, changed(FILE, hash=b"y" * 32), compared=True)
    findings.looked(RelPath(b"row"), FILE, None)
    assert findings.confirmed() == []
    assert [stale.path for stale in findings.taken_stale(10)] == [PATH]
    assert not findings.has_stale


def test_a_flood_is_logged_in_few_lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module.log, "disabled", False)  # tools that tests run switch loggers off
    findings = Findings("v")
    with caplog.at_level(logging.WARNING):
        for number in range(3 * LINES_MAX):
            findings.suspect(RelPath(b"%d" % number), Culprit(12, "vi"))
            findings.looked(RelPath(b"%d" % number), None, FILE)
    assert len(caplog.messages) == LINES_MAX
    assert caplog.messages[0] == "v: /0 was changed under the mount (created) by vi (12)"
    assert "more" in caplog.messages[-1]
    assert findings.count == 3 * LINES_MAX
