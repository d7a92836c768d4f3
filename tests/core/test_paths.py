"""Names as people see them: nobody who chooses one can make a line of a log with it, or give orders to a terminal."""

import pytest

from csfs.core.paths import shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"etc/motd", "etc/motd"),
        ("caf\u00e9/\u6771".encode(), "caf\u00e9/\u6771"),
        (b"o\xffdd", "o\\xffdd"),
        (b"a\n2026 WARNING lies", "a\\x0a2026 WARNING lies"),
        (b"\x1b[2J\x7f", "\\x1b[2J\\x7f"),
        ("\u009b31m".encode(), "\\x9b31m"),
    ],
)
def test_a_name_is_shown_on_one_line_and_gives_no_orders(name: bytes, text: str) -> None:
    assert shown(name) == text
