"""The keys directory: what this host is known by, mode 0700, its files 0600, each replaced as a whole.

authority.crt: the cluster's authority. member.key, member.crt: this host. authority.key: only where the cluster was made.
A member.key without member.crt belongs to a join that has not succeeded yet; the next try uses it again.
"""

import datetime
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from csfs.errors import ConfigError, NotPermittedError
from csfs.trust import authority as authorities
from csfs.trust.authority import Authority
from csfs.trust.identities import Identity

AUTHORITY_CERTIFICATE = "authority.crt"
AUTHORITY_KEY = "authority.key"
MEMBER_CERTIFICATE = "member.crt"
MEMBER_KEY = "member.key"


@dataclass(frozen=True, slots=True)
class Credentials:
    """This host's place in a cluster, verified: whom it is, and where its keys are.

    `is_valid_now` is by this host's clock, which may be set right later: whoever is met compares it with the time at that time.
    """

    identity: Identity
    keys: Path
    is_valid_now: bool = True


def load_credentials(keys: Path, now: datetime.datetime) -> Credentials:
    """Return the credentials in `keys`, checked against each other.

    Raises:
        ConfigError: there are none, others may read them, or they do not belong together.
    """
    certificate = _certificate_in(keys / MEMBER_CERTIFICATE)
    authority = _certificate_in(keys / AUTHORITY_CERTIFICATE)
    if load_key(keys / MEMBER_KEY).public_key() != certificate.public_key():
        raise ConfigError(
            f"{keys / MEMBER_KEY} does not belong to {MEMBER_CERTIFICATE} beside it; restore both together"
        )
    key = authority.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey), "only csfs makes authorities"
    try:
        identity = authorities.verified_identity(certificate, authorities.public_point(key))
    except NotPermittedError as error:
        raise ConfigError(f"{keys / MEMBER_CERTIFICATE}: {error}") from error
    return Credentials(identity, keys, authorities.is_valid_at(certificate, now))


def load_authority(keys: Path) -> Authority:
    """Return the cluster's authority with its secret.

    Raises:
        NotPermittedError: this host does not have it.
        ConfigError: the files cannot be used.
    """
    if not (keys / AUTHORITY_KEY).exists():
        raise NotPermittedError("this host cannot make members: invite on the member where `csfs init` ran")
    member = _certificate_in(keys / MEMBER_CERTIFICATE)
    certificate = _certificate_in(keys / AUTHORITY_CERTIFICATE)
    key = load_key(keys / AUTHORITY_KEY)
    if key.public_key() != certificate.public_key():
        raise ConfigError(
            f"{keys / AUTHORITY_KEY} does not belong to {AUTHORITY_CERTIFICATE} beside it; restore both together"
        )
    identity = authorities.verified_identity(member, authorities.public_point(key.public_key()))
    return Authority(identity.cluster, certificate, key)


def found_cluster(keys: Path, cluster: str, member: str, now: datetime.datetime) -> Credentials:
    """Make a cluster of one in `keys`: its authority, and `member`'s own key and certificate.

    Raises:
        ConfigError: the host is a member already, or a name cannot be used.
    """
    refuse_member(keys)
    authority = authorities.new_authority(cluster, now)
    key = authorities.new_key()
    certificate = authority.sign(authorities.request_of(key, member), member, now)
    save(keys, AUTHORITY_KEY, pem_of_key(authority.key))
    save(keys, MEMBER_KEY, pem_of_key(key))
    save_membership(keys, certificate, authorities.pem_of(authority.certificate))
    return load_credentials(keys, now)


def refuse_member(keys: Path) -> None:
    """Make sure that this host is not a member of a cluster yet.

    Raises:
        ConfigError: it is.
    """
    if (keys / MEMBER_CERTIFICATE).exists():
        raise ConfigError(f"this host is a member already: move {keys} away to make it a member of another cluster")


def pending_key(keys: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key with which this host asks to join: that of an earlier try, or a new one that is saved at once."""
    refuse_member(keys)
    if (keys / MEMBER_KEY).exists():
        return load_key(keys / MEMBER_KEY)
    key = authorities.new_key()
    save(keys, MEMBER_KEY, pem_of_key(key))
    return key


def save_membership(keys: Path, certificate: bytes, authority: bytes) -> None:
    """Keep what makes this host a member (PEM); the certificate comes last, for it says that everything is there."""
    save(keys, AUTHORITY_CERTIFICATE, authority)
    save(keys, MEMBER_CERTIFICATE, certificate)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the private key in a file.

    Raises:
        ConfigError: it is not there, others may read it, or it is no key of ours.
    """
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path}: others than its owner may read this key; chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: not a private key ({error}); restore it from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: not a P-256 key; restore it from a backup")
    return key


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return `key` as it is kept in a file, unencrypted: a daemon has nobody to ask for a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def save(keys: Path, name: str, data: bytes) -> None:
    """Replace the file `name` in `keys` by one that holds `data`, durably, readable by its owner alone."""
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = os.open(keys, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if stat.S_IMODE(os.fstat(directory).st_mode) & 0o077:
            os.fchmod(directory, 0o700)
        staged = f".{name}.{secrets.token_hex(8)}"
        file = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
        try:
            with open(file, "wb") as writer:
                writer.write(data)
                writer.flush()
                os.fsync(file)
            os.rename(staged, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(staged, dir_fd=directory)
            raise
        os.fsync(directory)  # syncing a file does not make its new name durable; fsync(2)
    finally:
        os.close(directory)


def _certificate_in(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise ConfigError(f"{path}: not a certificate ({error}); restore it from a backup") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing: run `csfs init` or `csfs join` on this host first") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
