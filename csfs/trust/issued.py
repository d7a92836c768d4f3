"""What the authority signed, by member: to revoke a member's certificates, somebody has to know their serials.

Kept beside the authority's key. A name can be given again after its member was removed; only the serials tell the old
holder of the name from the new one.
"""

from pathlib import Path

import msgspec
from cryptography import x509

from csfs.errors import ConfigError
from csfs.trust import certificates

FILE = "issued.json"


def note(keys: Path, member: str, certificate: bytes) -> None:
    """Remember that `certificate` (PEM) was made for `member`; durable when it returns."""
    serial = x509.load_pem_x509_certificate(certificate).serial_number
    issued = _all(keys)
    issued.setdefault(member, []).append(f"{serial:x}")
    certificates.save(keys, FILE, msgspec.json.encode(issued))


def serials_of(keys: Path, member: str) -> list[int]:
    """Return the serials of all certificates made for `member`, the newest last."""
    return [int(serial, 16) for serial in _all(keys).get(member, [])]


def _all(keys: Path) -> dict[str, list[str]]:
    try:
        return msgspec.json.decode((keys / FILE).read_bytes(), type=dict[str, list[str]])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise ConfigError(f"{keys / FILE}: {error}; restore it from a backup") from error
