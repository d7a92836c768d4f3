"""What a program was told that others have."""

from dataclasses import dataclass, field

from csfs.core.synchrony import Synchrony


@dataclass
class Acknowledged:
    """A content of which a program was told that its own member, the first of the `holders`, and all others of them have it.

    `lost`: those who lost what they had since. It survives while there is one who has not.
    """

    data: bytes
    synchrony: Synchrony
    holders: tuple[int, ...]
    lost: set[int] = field(default_factory=set)
