"""The rules of a cluster of one member, alpha, and directories for its volumes."""

import os
from pathlib import Path

from csfs.config import reader
from csfs.core.groups import Rules
from csfs.replicate.volume import Root
from csfs.store.owners import Owners
from csfs.store.stage import Stage
from csfs.store.tree import Tree

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


_roots: list[Root] = []


def root_at(directory: Path, owners: Owners) -> Root:
    """Return an opened directory underneath; it is closed after the test."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    tree = Tree(descriptor, owners)
    root = Root(descriptor, tree, Stage(tree))
    _roots.append(root)
    return root


def close_roots() -> None:
    """Close all that were opened so far."""
    while _roots:
        root = _roots.pop()
        root.stage.close()
        os.close(root.descriptor)
