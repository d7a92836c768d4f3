"""TLS contexts: 1.3 alone, nothing trusted but the cluster's own authority.

Whose certificate it is, is checked after the handshake and before the first message (`identities.identity_of_peer`): `ssl`
knows how to match host names, and members are not host names.
"""

import ssl

from csfs.trust.certificates import AUTHORITY_CERTIFICATE, MEMBER_CERTIFICATE, MEMBER_KEY, Credentials


def listening_context(credentials: Credentials) -> ssl.SSLContext:
    """Return the context of the side that was dialled.

    A certificate is asked for, not demanded: an invited host has none yet. One that is presented has to be of this cluster.
    """
    context = _member_context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0  # links live long: a session kept for resumption would only outlive a revocation
    return context


def dialling_context(credentials: Credentials) -> ssl.SSLContext:
    """Return the context of a member that dials another."""
    context = _member_context(ssl.PROTOCOL_TLS_CLIENT, credentials)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def joining_context() -> ssl.SSLContext:
    """Return the context of an invited host: the handshake proves that the other side has the key of its certificate.

    That the certificate is the cluster's, the caller checks with the key in its token, before it says anything.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_NONE
    return context


def _member_context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    context = _context(protocol)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.load_verify_locations(cafile=credentials.keys / AUTHORITY_CERTIFICATE)
    context.load_cert_chain(credentials.keys / MEMBER_CERTIFICATE, credentials.keys / MEMBER_KEY)
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    return context
