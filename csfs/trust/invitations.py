"""Invitations: one token for one host, good once and for a while.

The token names the authority by its public key, so that the invited host can tell the inviter from somebody in between
*before* it says the secret. The inviter keeps a digest of the secret alone. The secret is 256 random bits, which
nobody guesses: a plain digest needs no salt and no slow function.
"""

import base64
import binascii
import datetime
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from csfs.errors import ConfigError, NotPermittedError
from csfs.trust import certificates, identities
from csfs.trust.authority import KEY_SIZE

FILE = "invitations.json"
LOCK = "invitations.lock"
SECRET_SIZE = 32
CHECK_SIZE = 4
VERSION = 1
INVITATIONS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Token:
    """What the administrator carries to the new host: whom to trust, what it will be called, and the secret."""

    authority_point: bytes
    member: str
    secret: bytes

    def text(self) -> str:
        """Return the token as one word of letters and digits, to be copied with a double click."""
        body = bytes([VERSION]) + self.authority_point + self.secret + self.member.encode()
        return base64.b32encode(body + _check(body)).decode().rstrip("=").lower()


class Invitation(msgspec.Struct, frozen=True):
    """One invitation as it is kept: `digest` of the secret, `expires` in seconds since 1970, and the key that used it."""

    member: str
    digest: str
    expires: float
    used_by: str = ""


def token_from(text: str) -> Token:
    """Return what a token says.

    Raises:
        ConfigError: it is not one, or not complete.
    """
    word = "".join(text.split()).upper()
    try:
        whole = base64.b32decode(word + "=" * (-len(word) % 8))
    except (binascii.Error, ValueError):
        whole = b""
    body, check = whole[:-CHECK_SIZE], whole[-CHECK_SIZE:]
    if len(body) <= 1 + KEY_SIZE + SECRET_SIZE or not hmac.compare_digest(_check(body), check):
        raise ConfigError("this is not a whole token: copy all of what `csfs invite` printed")
    if body[0] != VERSION:
        raise ConfigError(f"token of version {body[0]}, this csfs knows {VERSION}; same csfs version on both hosts?")
    member = body[1 + KEY_SIZE + SECRET_SIZE :].decode(errors="replace")
    identities.checked_name(member, "member")
    return Token(body[1 : 1 + KEY_SIZE], member, body[1 + KEY_SIZE : 1 + KEY_SIZE + SECRET_SIZE])


class Invitations:
    """The invitations of one host, in its keys directory; a file, so that they outlive the daemon and the command."""

    def __init__(self, keys: Path) -> None:
        self.keys = keys

    def invite(
        self, member: str, authority_point: bytes, lifetime: datetime.timedelta, now: datetime.datetime
    ) -> Token:
        """Return a new token for `member`; an earlier one for the same name is good no longer.

        Raises:
            ConfigError: the name cannot be used, or there are too many invitations.
        """
        identities.checked_name(member, "member")
        token = Token(authority_point, member, secrets.token_bytes(SECRET_SIZE))
        with self._locked():
            others = [i for i in self._current(now) if i.member != member]
            if len(others) >= INVITATIONS_MAX:
                raise ConfigError(
                    f"{len(others)} invitations are open, limit {INVITATIONS_MAX}; wait until some expire"
                )
            self._save([*others, Invitation(member, _digest(token.secret), (now + lifetime).timestamp())])
        return token

    def check(self, member: str, secret: bytes, key: bytes, now: datetime.datetime) -> bool:
        """Return whether the host whose public key is `key` has used the invitation of `member` already.

        The same host may ask again until the invitation expires: its first answer may have been lost on the way.

        Raises:
            NotPermittedError: no such invitation, or it was used by another host.
        """
        return bool(_matching(self._current(now), member, secret, key).used_by)

    def use(self, member: str, secret: bytes, key: bytes, now: datetime.datetime) -> None:
        """Use up the invitation of `member` for the host whose public key is `key`; durable when it returns.

        Raises: as `check`.
        """
        with self._locked():
            current = self._current(now)
            mine = _matching(current, member, secret, key)
            used = msgspec.structs.replace(mine, used_by=_digest(key))
            self._save([used if i is mine else i for i in current])

    def withdraw(self, member: str, now: datetime.datetime) -> None:
        """Forget the invitation of `member`, if there is one."""
        with self._locked():
            self._save([i for i in self._current(now) if i.member != member])

    def open(self, now: datetime.datetime) -> list[Invitation]:
        """Return the invitations that can still be used, by member."""
        return sorted((i for i in self._current(now) if not i.used_by), key=lambda i: i.member)

    def _current(self, now: datetime.datetime) -> list[Invitation]:
        try:
            data = (self.keys / FILE).read_bytes()
        except FileNotFoundError:
            return []
        try:
            invitations = msgspec.json.decode(data, type=list[Invitation])
        except msgspec.DecodeError as error:
            raise ConfigError(f"{self.keys / FILE}: {error}; delete the file and invite again") from error
        return [i for i in invitations if i.expires > now.timestamp()]

    def _save(self, invitations: list[Invitation]) -> None:
        certificates.save(self.keys, FILE, msgspec.json.encode(invitations))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file against the other process: the command invites while the daemon uses up."""
        self.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.keys / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _matching(invitations: list[Invitation], member: str, secret: bytes, key: bytes) -> Invitation:
    for invitation in invitations:
        # Every digest is compared whole: the time taken says nothing of how much of it was right.
        if hmac.compare_digest(invitation.digest, _digest(secret)) and invitation.member == member:
            if invitation.used_by not in ("", _digest(key)):
                raise NotPermittedError(f"this token was used already; run `csfs invite {member}` again")
            return invitation
    raise NotPermittedError("this token is wrong, expired or replaced; run `csfs invite` again and use what it prints")


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def _check(body: bytes) -> bytes:
    """Return the bytes that show a token was copied whole."""
    return hashlib.sha256(body).digest()[:CHECK_SIZE]
