"""Who a certificate is for: one URI, csfs://<cluster>/<member>, in its subject alternative names."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from csfs.errors import ConfigError, NotPermittedError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What a cluster or a member may be called: it stands in a URI, in a file and in log lines without quoting."""
SCHEME = "csfs://"


@dataclass(frozen=True, slots=True)
class Identity:
    """A member of a cluster, as its certificate says; `serial` is that of the certificate."""

    cluster: str
    member: str
    serial: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """Members and certificates that are trusted no longer, whatever the authority once signed."""

    members: Collection[str] = frozenset()
    serials: Collection[int] = frozenset()


def checked_name(name: str, what: str) -> str:
    """Return `name` if a cluster or member can be called so; `what` says which of the two.

    Raises:
        ConfigError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{what} {name!r}: letters, digits, '.', '_' and '-' alone, at most 63, a letter or digit first"
        )
    return name


def uri_of(cluster: str, member: str) -> str:
    """Return the URI that names `member` in a certificate."""
    return f"{SCHEME}{checked_name(cluster, 'cluster')}/{checked_name(member, 'member')}"


def identity_from(uris: Iterable[str], serial: int) -> Identity:
    """Return the identity that the URIs of one certificate name.

    Raises:
        NotPermittedError: they name none, or more than one.
    """
    ours = [uri for uri in uris if uri.startswith(SCHEME)]
    cluster, slash, member = ours[0][len(SCHEME) :].partition("/") if len(ours) == 1 else ("", "", "")
    if not (slash and NAME.fullmatch(cluster) and NAME.fullmatch(member)):
        raise NotPermittedError("its certificate names no member of a csfs cluster")
    return Identity(cluster, member, serial)


def identity_of_peer(certificate: Mapping[str, object], revoked: Revoked, cluster: str) -> Identity:
    """Return whom a verified certificate, as `ssl` describes it, is for.

    Raises:
        NotPermittedError: it is of another cluster, revoked, or names no member.
    """
    names = certificate.get("subjectAltName", ())
    assert isinstance(names, tuple)
    serial = int(str(certificate.get("serialNumber", "0")), 16)
    identity = identity_from((value for kind, value in names if kind == "URI"), serial)
    if identity.cluster != cluster:
        raise NotPermittedError(f"it belongs to cluster {identity.cluster}, this is {cluster}")
    if identity.serial in revoked.serials or identity.member in revoked.members:
        raise NotPermittedError(
            f"the certificate of {identity.member} was revoked; invite it again if it may come back"
        )
    return identity
