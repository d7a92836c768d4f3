"""Messages between members about a directory that was moved as a whole."""

from csfs.core.moves import WholeMove
from csfs.core.versions import Scope
from csfs.wire.control import Tagged


class Moved(Tagged, frozen=True):
    """A directory was moved with all that is below it: instead of the updates of each path up to `position`, in the sender's order.

    Answered by `Followed`, before which the sender tells no further updates. `token` is as in `Records`.
    """

    volume: str
    request: int
    scope: Scope
    position: int
    move: WholeMove
    token: bytes = b""


class Followed(Tagged, frozen=True):
    """Whether the sender has stored all that came of a move; if not, each path is to be told to it by itself."""

    request: int
    is_known: bool
