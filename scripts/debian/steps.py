"""Steps of a scenario: each is done, timed and told in one line; one that fails does not keep the others from being done."""

import contextlib
import time
from collections.abc import Callable, Iterator

WIDTH = 68


class Steps:
    """What was done so far."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @contextlib.contextmanager
    def step(self, what: str, seconds_max: float = 0.0) -> Iterator[None]:
        """Do one step. With `seconds_max`, one that takes longer has failed."""
        begun = time.monotonic()
        problem = ""
        try:
            yield
        except Exception as error:
            problem = f"{error}" or type(error).__name__
        seconds = time.monotonic() - begun
        if not problem and seconds_max and seconds > seconds_max:
            problem = f"took longer than {seconds_max:g} s"
        verdict = "FAILED" if problem else "ok"
        print(f"{what:<{WIDTH}} {seconds:7.2f} s  {verdict}", flush=True)
        if problem:
            print("    " + problem.replace("\n", "\n    "), flush=True)
            self.failed.append(what)

    def summary(self) -> int:
        """Say how it went, and return the exit code."""
        print(f"\n{len(self.failed)} failed: {'; '.join(self.failed)}" if self.failed else "\nall ok")
        return 1 if self.failed else 0


def until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Return when `condition` holds.

    Raises:
        AssertionError: it does not, after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)
