"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """Have SIGINT interrupt what tests start, also where a shell that runs the tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
