"""The authority's signature on the cluster's configuration: whoever forwards it, only the authority can have written it."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from csfs.errors import NotPermittedError

_DOMAIN = b"csfs 2026 settings\0"
"""Keeps a signature on a configuration from being taken for one on anything else."""


def signature_of(key: ec.EllipticCurvePrivateKey, text: str) -> bytes:
    """Return the authority's signature on `text`."""
    return key.sign(_DOMAIN + text.encode(), ec.ECDSA(hashes.SHA256()))


def verify(key: ec.EllipticCurvePublicKey, text: str, signature: bytes) -> None:
    """Make sure that the authority signed `text`.

    Raises:
        NotPermittedError: it did not.
    """
    try:
        key.verify(signature, _DOMAIN + text.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise NotPermittedError("the configuration is not signed by the cluster's authority") from None
