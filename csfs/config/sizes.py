"""Amounts of bytes as people write them: `500K`, `10M`, `1.5G`; the units are powers of 1,024."""

import re

PATTERN = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parsed(text: str) -> int:
    """Return the bytes that `500K`, `10M` or `1.5G` are.

    Raises:
        ValueError: it is none of these.
    """
    found = PATTERN.fullmatch(text)
    if not found:
        raise ValueError(f'"{text}" is no amount of bytes: write 500K, 10M or 1G')
    return int(float(found[1]) * _UNITS[found[2]])
