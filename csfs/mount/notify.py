"""Tells systemd how a service of `Type=notify` is; see sd_notify(3)."""

import logging
import os
import socket

log = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"


def is_wanted() -> bool:
    """Return whether somebody waits to be told: systemd, which started us as a service."""
    return VARIABLE in os.environ


def say(text: str) -> None:
    """Say `READY=1` or the like to whoever started us, if he wants to be told."""
    address = os.environ.get(VARIABLE, "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.sendto(text.encode(), address)
        except OSError as error:
            log.warning("systemd cannot be told %s: %s", text, error)
