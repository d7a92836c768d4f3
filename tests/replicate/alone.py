"""The rules of a cluster of one member, alpha."""

from csfs.config import reader
from csfs.core.groups import Rules

SETTINGS = """
cluster = "web"
[members.alpha]
address = ["127.0.0.1:1"]
[volumes.{volume}]
path = "/srv/{volume}"
[[volumes.{volume}.groups]]
members = ["alpha"]
include = ["/"]
"""


def rules_of(volume: str) -> Rules:
    """Return the rules of a volume of which everything is followed."""
    return reader.parse(SETTINGS.format(volume=volume), "settings").rules(volume, "alpha")
