"""Members with real certificates, made in a directory of the test's own."""

import datetime
from pathlib import Path

from csfs.trust import authority, certificates
from csfs.trust.authority import Authority
from csfs.trust.certificates import Credentials

NOW = datetime.datetime.now(datetime.UTC)


class Cluster:
    """An authority and whatever members a test asks for."""

    def __init__(self, directory: Path, name: str = "web") -> None:
        self.directory = directory
        self.authority: Authority = authority.new_authority(name, NOW)

    def keys(self, member: str, made: datetime.datetime = NOW, authority_of: "Cluster | None" = None) -> Path:
        """Return a keys directory of `member`; `authority_of` is the cluster that it trusts, if not its own."""
        keys = self.directory / f"{self.authority.cluster}-{member}"
        key = authority.new_key()
        trusted = (authority_of or self).authority
        certificates.save(keys, certificates.MEMBER_KEY, certificates.pem_of_key(key))
        certificate = self.authority.sign(authority.request_of(key, member), member, made)
        certificates.save_membership(keys, certificate, authority.pem_of(trusted.certificate))
        return keys

    def member(self, member: str) -> Credentials:
        """Return a member in good standing."""
        return certificates.load_credentials(self.keys(member), NOW)
