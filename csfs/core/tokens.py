"""Link tokens: how a member that was restored from an older copy of itself, or cloned, finds that out (R8).

Each member gives each peer a fresh token with what it says; the peer keeps the last one and shows it at the next greeting. A
peer that shows one that this member does not remember giving has heard from a later life of it, or from its clone. Tokens carry
a keyed hash, so that no peer can make one; the key is in the index, with which it is copied and restored. Nothing is granted
for a token.
"""

import enum
import hashlib
from typing import Final

import msgspec

NUMBER_SIZE: Final = 8
NONCE_SIZE: Final = 8
HASH_SIZE: Final = 16
TOKEN_SIZE: Final = NUMBER_SIZE + NONCE_SIZE + HASH_SIZE
GIVEN_MAX: Final = 64
"""Tokens that a peer may yet show; a peer confirms one whenever it says how it stands."""


class Verdict(enum.Enum):
    """What a token says of whom."""

    GOOD = "good"
    """It was given in this life, or the peer has none: nothing is wrong."""
    BEHIND = "behind"
    """The peer has shown a later one before: it was restored, or cloned."""
    AHEAD = "ahead"
    """We do not remember giving it: it is this member that was restored, or cloned."""


class Owed(enum.IntEnum):
    """Whether we have yet to catch up with a peer that has shown a token that we do not remember."""

    NOTHING = 0
    NOW = 1
    """We are in quarantine until we have."""
    LATER = 2
    """It went away before; others were heard instead. When it is back, we are in quarantine again."""


class Tokens(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of one peer. `held` is its last one to us, to be shown to it.

    `confirmed` is the last of ours that it has shown, `given` are those given since, ascending.
    """

    held: bytes = b""
    confirmed: bytes = b""
    given: tuple[bytes, ...] = ()
    owed: Owed = Owed.NOTHING


NO_TOKENS: Final = Tokens()


def _number(token: bytes) -> int:
    return int.from_bytes(token[:NUMBER_SIZE], "big")


def _made(key: bytes, peer: str, number: int, nonce: bytes) -> bytes:
    body = number.to_bytes(NUMBER_SIZE, "big") + nonce
    keyed = hashlib.blake2b(body + peer.encode(), key=key, digest_size=HASH_SIZE)
    return body + keyed.digest()


def given(tokens: Tokens, peer: str, key: bytes, nonce: bytes) -> tuple[Tokens, bytes]:
    """Return what is remembered once `peer` is given a fresh token, and that token; `nonce` is random."""
    last = tokens.given[-1] if tokens.given else tokens.confirmed
    token = _made(key, peer, _number(last) + 1, nonce)
    remembered = (*tokens.given, token)[-GIVEN_MAX:]
    return msgspec.structs.replace(tokens, given=remembered), token


def checked(tokens: Tokens, peer: str, key: bytes, shown: bytes) -> tuple[Tokens, Verdict]:
    """Return what is remembered once `peer` has shown a token, and what that says. What we cannot have made says nothing."""
    number = _number(shown)
    if len(shown) != TOKEN_SIZE or shown != _made(key, peer, number, shown[NUMBER_SIZE:-HASH_SIZE]):
        return tokens, Verdict.GOOD
    if shown == tokens.confirmed:
        return tokens, Verdict.GOOD
    if shown in tokens.given:
        return confirmed(tokens, shown), Verdict.GOOD
    if number < _number(tokens.confirmed):
        return tokens, Verdict.BEHIND
    if tokens.given and number < _number(tokens.given[0]):
        return tokens, Verdict.GOOD  # more were given since than are remembered
    # From here on they are numbered after it, so that the next one is not taken for one of the other life's.
    return msgspec.structs.replace(tokens, confirmed=shown, given=(), owed=Owed.NOW), Verdict.AHEAD


def confirmed(tokens: Tokens, shown: bytes) -> Tokens:
    """Return what is remembered once a peer has named, in the course of a connection, the last token that it keeps."""
    if shown not in tokens.given:
        return tokens
    later = tokens.given[tokens.given.index(shown) + 1 :]
    return msgspec.structs.replace(tokens, confirmed=shown, given=later)
