"""What all tests of this room need."""

from collections.abc import Iterator

import pytest

from tests.replicate.alone import close_roots


@pytest.fixture(autouse=True)
def _roots_are_closed() -> Iterator[None]:
    """Close the directories that a test gave to its volumes."""
    yield
    close_roots()
