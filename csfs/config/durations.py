"""Durations as people write them: `90s`, `15m`, `1h`, `7d`."""

import re

PATTERN = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
DURATION_S_MAX = 36_500 * 86_400.0
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parsed(text: str) -> float:
    """Return the seconds that `90`, `90s`, `15m`, `1h` or `7d` are.

    Raises:
        ValueError: it is none of these, nothing, or more than a calendar can be asked for.
    """
    found = PATTERN.fullmatch(text)
    if not found or float(found[1]) == 0:
        raise ValueError(f'"{text}" is no duration: write 90s, 15m, 1h or 7d')
    seconds = float(found[1]) * _UNITS_S[found[2]]
    if seconds > DURATION_S_MAX:
        raise ValueError(f'"{text}" is more than a hundred years')
    return seconds
