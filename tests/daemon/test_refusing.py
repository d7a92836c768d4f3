"""Whatever fails is answered: with its line and its exit code, and what is a bug with a line of the log that has it whole."""

import pytest

from csfs.daemon.refusing import failed
from csfs.errors import ConfigError, ExitCode, NotRunningError


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("no such path"), ExitCode.REFUSED, "no such path"),
        (
            ExceptionGroup("tasks", [ValueError("x"), ExceptionGroup("more", [NotRunningError("unmounted")])]),
            ExitCode.NOT_RUNNING,
            "unmounted",
        ),
        (OSError(28, "No space left on device", "/x"), ExitCode.REFUSED, "/x: No space left on device"),
        (OSError(30, "Read-only file system", b".csfs"), ExitCode.REFUSED, ".csfs: Read-only file system"),
        (OSError(5, "Input/output error"), ExitCode.REFUSED, "Input/output error"),
        (OSError("odd"), ExitCode.REFUSED, "odd"),
    ],
)
def test_what_a_person_can_mend_is_answered_and_not_logged(
    error: Exception, code: ExitCode, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply = failed("verify", error)
    assert (reply.exit_code, reply.error) == (code, line)
    assert caplog.records == []


def test_a_bug_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    reply = failed("verify", ExceptionGroup("tasks", [ZeroDivisionError("by nought")]))
    assert reply.exit_code == ExitCode.BUG
    assert reply.error.startswith("ZeroDivisionError: by nought")
    (record,) = caplog.records
    assert "csfs verify" in record.getMessage()
    assert record.exc_info is not None
