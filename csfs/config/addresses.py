"""Addresses as people write them: `host:port`, `[v6]:port`, or a host alone for the standard port."""

from dataclasses import dataclass

PORT_DEFAULT = 30866
ANYWHERE = ("0.0.0.0", "::", "*")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host (name, IPv4 or IPv6 address without brackets) and a port."""

    host: str
    port: int = PORT_DEFAULT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_anywhere(self) -> bool:
        """Return whether it stands for every address of the host: good to listen on, not to be called at."""
        return self.host in ANYWHERE


def parsed(text: str) -> Address:
    """Return the address that `text` writes.

    Raises:
        ValueError: it is none; the message shows the form.
    """
    host, port = _split(text)
    if not host or any(character.isspace() or character in "[]/@" for character in host):
        raise ValueError(f'"{text}" is not an address: write host:port or [v6 address]:port')
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'"{text}" has no port between 1 and 65535')
    return Address(host, int(port))


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            return "", ""
        return host, rest[1:] if rest else str(PORT_DEFAULT)
    if text.count(":") > 1:  # an IPv6 address alone: a port would need brackets
        return text, str(PORT_DEFAULT)
    host, colon, port = text.partition(":")
    return host, port if colon else str(PORT_DEFAULT)
