"""Why a handshake failed, in words that name a cure: OpenSSL's own name the place in its source."""

import os
import socket
import ssl

_EXPIRED = "compare the clocks of both hosts; one that has is to be removed (`csfs member remove`) and invited anew"
_UNUSABLE = (
    "it cannot use our certificate; are its keys those of `csfs init` or `csfs join`, and the csfs versions the same?"
)
_VERIFY = {
    "certificate has expired": f"its certificate has expired; {_EXPIRED}",
    "certificate is not yet valid": "its certificate is not valid yet; compare the clocks of both hosts",
    "unable to get local issuer certificate": "its certificate is not of this cluster",
    "unable to get issuer certificate": "its certificate is not of this cluster",
    "self-signed certificate": "its certificate is not of this cluster",
    "self-signed certificate in certificate chain": "its certificate is not of this cluster",
    "certificate signature failure": "its certificate is not of this cluster, though its authority has the same name",
    "authority and subject key identifier mismatch": "its certificate is not of this cluster, though its authority has the same name",
}
_REASONS = {
    "TLSV1_ALERT_UNKNOWN_CA": "it says that our certificate is not of its cluster",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": f"it says that our certificate has expired; {_EXPIRED}",
    "SSLV3_ALERT_BAD_CERTIFICATE": _UNUSABLE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _UNUSABLE,
    "TLSV1_ALERT_DECRYPT_ERROR": "it says that our certificate is not of its cluster",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS; is that csfs?",
    "HTTP_REQUEST": "it speaks HTTP, not csfs",
    "UNSUPPORTED_PROTOCOL": "it has no TLS 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it has no TLS 1.3",
    "UNEXPECTED_EOF_WHILE_READING": "it closed the connection during the handshake",
}


def reason_of(error: BaseException) -> str:
    """Return what went wrong, looking behind what the stream made of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _VERIFY.get(cause.verify_message, f"its certificate cannot be verified ({cause.verify_message})")
        if isinstance(cause, ssl.SSLError):
            return _REASONS.get(cause.reason or "", f"TLS failed ({cause.reason or cause})")
        if isinstance(cause, OSError):
            # Who made the error may have put an address into its text, which whoever reads this has before it.
            if cause.errno and not isinstance(cause, socket.gaierror):
                return os.strerror(cause.errno).lower()
            return (cause.strerror or str(cause)).lower()
        cause = cause.__cause__ or cause.__context__
    return str(error) or "the connection was closed"
