"""What belongs to one side of a storm, and what must be there at its end."""

import hashlib
import os
import zlib

OWN = ("copy1", "copy2")
"""The top-level directories that belong to side 0 and to side 1."""
APART = ("programs0", "programs1")
"""Top-level directories in which others are at work."""


def owner_of(name: str) -> int:
    """Return the side that a file in a shared directory belongs to."""
    if name[:2] in ("s0", "s1"):
        return int(name[1])
    return zlib.crc32(os.fsencode(name)) % 2


def is_at_or_below(path: str, directory: str) -> bool:
    """Return whether `path` is `directory` or lies in it."""
    return path == directory or path.startswith(directory + "/")


class Share:
    """What belongs to one side, by path relative to the tree, as this side has left it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {}
        """Contents; None for a file that was never written here."""
        self.links: dict[str, str] = {}
        self.fifos: set[str] = set()
        self.directories: set[str] = set()
        """Directories with which anything may be done."""
        self.shared: list[str] = []
        """Directories in which files may be made."""
        self.gone: set[str] = set()

    def forget(self, path: str, *, gone: bool = True) -> None:
        """`path`, and all that was below it, is no longer there, or nobody knows."""
        for known in (self.files, self.links):
            for name in [name for name in known if is_at_or_below(name, path)]:
                del known[name]
                self.gone.add(name)
        for names in (self.fifos, self.directories):
            for name in [name for name in names if is_at_or_below(name, path)]:
                names.discard(name)
                self.gone.add(name)
        if not gone:
            self.gone = {name for name in self.gone if not is_at_or_below(name, path)}

    def move(self, source: str, target: str) -> None:
        """All that was at and below `source` is at and below `target` now."""

        def moved(name: str) -> str:
            return target + name[len(source) :]

        files = {moved(name): content for name, content in self.files.items() if is_at_or_below(name, source)}
        links = {moved(name): link for name, link in self.links.items() if is_at_or_below(name, source)}
        fifos = {moved(name) for name in self.fifos if is_at_or_below(name, source)}
        directories = {moved(name) for name in self.directories if is_at_or_below(name, source)}
        self.forget(target)
        self.forget(source)
        self.files.update(files)
        self.links.update(links)
        self.fifos |= fifos
        self.directories |= directories
        self.gone -= files.keys() | links.keys() | fifos | directories

    def report(self) -> dict[str, object]:
        """Return what must be there at the end, and what must not, as JSON can hold it."""
        known = {name: content for name, content in self.files.items() if content is not None}
        present = self.files.keys() | self.links.keys() | self.fifos | self.directories
        return {
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in known.items()},
            "links": self.links,
            "present": sorted(present),
            "gone": sorted(self.gone - present),
        }
