"""Addresses as people write them: `host:port`, `[v6]:port`, or a host alone for the standard port; `ssh://user@host:port`."""

import re
from dataclasses import dataclass

PORT_DEFAULT = 30866
ANYWHERE = ("0.0.0.0", "::", "*")
SSH = "ssh://"
_PLAIN = re.compile(r"[\w.:%][\w.:%+-]*")
"""What is no option of ssh's, and nothing special to a shell: ssh's configuration may give both names to one (ProxyCommand)."""
PORT_OF_SSH = 0
"""Stands for whatever port ssh's own configuration has for a host."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host (name, IPv4 or IPv6 address without brackets) and a port; or who to be there when ssh is to connect."""

    host: str
    port: int = PORT_DEFAULT
    by_ssh: bool = False
    user: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if not self.by_ssh:
            return f"{host}:{self.port}"
        user = f"{self.user}@" if self.user else ""
        return f"{SSH}{user}{host}" + (f":{self.port}" if self.port != PORT_OF_SSH else "")

    @property
    def is_anywhere(self) -> bool:
        """Return whether it stands for every address of the host: good to listen on, not to be called at."""
        return self.host in ANYWHERE


def parsed(text: str) -> Address:
    """Return the address that `text` writes.

    Raises:
        ValueError: it is none; the message shows the form.
    """
    if text.startswith(SSH):
        return _by_ssh(text)
    host, port = _split(text, str(PORT_DEFAULT))
    if not host or any(character.isspace() or character in "[]/@" for character in host):
        raise ValueError(f'"{text}" is not an address: write host:port or [v6 address]:port')
    return Address(host, _port(port, text))


def to_listen_on(text: str) -> Address:
    """Return the address that `text` writes, one of this host.

    Raises:
        ValueError: it is none.
    """
    address = parsed(text)
    if address.by_ssh:
        raise ValueError(f'"{text}" is where others call: whoever comes by ssh needs no address to be listened on')
    return address


def _by_ssh(text: str) -> Address:
    user, at, place = text.removeprefix(SSH).rpartition("@")
    host, port = _split(place, "")
    if not _PLAIN.fullmatch(host) or host in ANYWHERE or (at and not _PLAIN.fullmatch(user)):
        raise ValueError(f'"{text}" is not an address: write ssh://user@host, or ssh://user@host:port')
    if not port and not place.endswith(":"):
        return Address(host, PORT_OF_SSH, True, user)
    return Address(host, _port(port, text), True, user)


def _port(port: str, text: str) -> int:
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'"{text}" has no port between 1 and 65535')
    return int(port)


def _split(text: str, usual: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            return "", ""
        return host, rest[1:] if rest else usual
    if text.count(":") > 1:  # an IPv6 address alone: a port would need brackets
        return text, usual
    host, colon, port = text.partition(":")
    return host, port if colon else usual
