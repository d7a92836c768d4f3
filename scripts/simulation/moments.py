"""What happens in a run that no plan says: it comes of what others do, and has to come now and then."""

import enum


class Moment(enum.Enum):
    """Something that a member has come to."""

    NOT_DIGESTED = "commit refused: a program has told of the path, or of what is near it"
    NOT_EXPECTED = "commit refused: what is there, or what a link leads to, is not what it was planned for"
    BUSY = "commit refused: open, with bytes that nobody has told"
    RESTED = "at rest: what was shown before something else was is forgotten"
    ACQUAINTED = "somebody is known now whom ACLs had left out, and has his rights"
    CUT_LINKED = "a power cut has damaged a file that has several names"
