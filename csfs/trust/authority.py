"""The cluster's own certificate authority: made once by `csfs init`, it signs what makes a host a member.

P-256, because every TLS 1.3 implementation has it, also where only approved curves are allowed. An invitation carries the
authority's public key as a compressed point of 33 bytes: who has it can check a member's certificate without
having seen any certificate before.
"""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from csfs.errors import NotPermittedError
from csfs.trust import identities
from csfs.trust.identities import Identity

AUTHORITY_DAYS = 36_500
MEMBER_DAYS = 7_300
"""Members are revoked by name and serial, not by waiting: an expiry that nobody remembers would only stop a cluster."""
BACKDATED = datetime.timedelta(days=1)
"""A certificate made now is valid on a host whose clock is behind."""
REQUEST_SIZE_MAX = 16 * 1024
KEY_SIZE = 33

_SIGNING = {"digital_signature": True, "key_cert_sign": False, "crl_sign": False}
_AUTHORITY = {"digital_signature": False, "key_cert_sign": True, "crl_sign": True}
_NEVER = dict.fromkeys(
    ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
    False,
)


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority with its secret: whoever holds it can make members."""

    cluster: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def sign(self, request: bytes, member: str, now: datetime.datetime) -> bytes:
        """Return a certificate (PEM) that makes the key of `request` (a signing request, PEM) that of `member`.

        Nothing but the key is taken from the request: the name is what the invitation says.

        Raises:
            NotPermittedError: the request is unreadable, does not prove that its maker has the key, or the key is of another kind.
        """
        builder = _certificate(member, self.certificate.subject, key_of_request(request), now, MEMBER_DAYS)
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**_SIGNING, **_NEVER), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identities.uri_of(self.cluster, member))]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return pem_of(builder.sign(self.key, hashes.SHA256()))


def new_authority(cluster: str, now: datetime.datetime) -> Authority:
    """Return a new authority for `cluster`."""
    identities.checked_name(cluster, "cluster")
    key = new_key()
    name = _name(f"csfs cluster {cluster}"[:64])
    builder = (
        _certificate(f"csfs cluster {cluster}"[:64], name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**_AUTHORITY, **_NEVER), critical=True)
    )
    return Authority(cluster, builder.sign(key, hashes.SHA256()), key)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key, of the one kind that members and authorities have."""
    return ec.generate_private_key(ec.SECP256R1())


def request_of(key: ec.EllipticCurvePrivateKey, member: str) -> bytes:
    """Return the signing request (PEM) of a member to be."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(identities.checked_name(member, "member")))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def key_of_request(request: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key that a signing request (PEM) is for.

    Raises:
        NotPermittedError: see `Authority.sign`.
    """
    if len(request) > REQUEST_SIZE_MAX:
        raise NotPermittedError(f"certificate request of {len(request)} bytes, limit {REQUEST_SIZE_MAX}")
    try:
        parsed = x509.load_pem_x509_csr(request)
        key = parsed.public_key()
        proven = parsed.is_signature_valid
    except Exception as error:  # the parser raises what it likes on input made to upset it
        raise NotPermittedError("the certificate request cannot be read") from error
    if not proven or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotPermittedError(
            "the certificate request is not signed by a P-256 key; same csfs version on both hosts?"
        )
    return key


def public_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return `key` in the 33 bytes that an invitation carries."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def is_valid_at(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    """Return whether `now` is in the time that `certificate` is for."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def verified_identity(
    certificate: x509.Certificate, authority_point: bytes, now: datetime.datetime | None = None
) -> Identity:
    """Return whom `certificate` is for, if the authority with this public key signed it and it is valid at `now`, if that is said.

    Raises:
        NotPermittedError: it did not, or the time is not right.
    """
    try:
        authority = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), authority_point)
        # Members are signed with SHA-256, always: another algorithm makes the signature wrong, as it should.
        authority.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (InvalidSignature, ValueError, x509.ExtensionNotFound) as error:
        raise NotPermittedError("its certificate was not made by this cluster") from error
    if now is not None and not is_valid_at(certificate, now):
        raise NotPermittedError("its certificate is not valid at this time; compare the clocks of both hosts")
    return identities.identity_from(uris, certificate.serial_number)


def pem_of(certificate: x509.Certificate) -> bytes:
    """Return `certificate` as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
