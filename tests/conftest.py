"""What holds for all tests, and keeps those apart that run beside each other."""

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests import beside

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling


def pytest_configure(config: pytest.Config) -> None:
    """Have SIGINT interrupt what tests start, also where a shell that runs the tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if beside.is_worker(config):
        beside.see_own_mounts_only()
    else:
        os.environ[beside.MARK] = "1"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind, however the tests that ran beside each other have ended."""
    if beside.has_workers(config) and (left := beside.end_marked()):
        print("ended, which tests had left:", *left, sep="\n  ")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadFileScheduling":
    """Have one worker run all tests of a file, which share what they have started; the files in their order: the longest are early."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)
