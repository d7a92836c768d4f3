"""What one side of a storm has in a tree, to choose from; where there is nothing, something is made."""

import os
import random
import stat
from pathlib import Path

from scripts.support.share import APART, OWN, Share, owner_of

WORDS = ("conf", "a b", "ümlaut", "new\nline", "bytes-\udcff\udcfe", "-rf", "*", "back\\slash", "x" * 200, ".dot", "~")


class Belongings:
    """One side's paths in a tree. `touching`: those that the present operation may leave in any state."""

    def __init__(self, tree: str, side: int, seed: int) -> None:
        self.tree = tree
        self.side = side
        self.dice = random.Random(seed)
        self.share = Share()
        self.touching: set[str] = set()
        self._number = 0
        self._survey()

    def _survey(self) -> None:
        """Find out what is ours."""
        for directory, directories, files in os.walk(self.tree):
            above = os.path.relpath(directory, self.tree)
            above = "" if above == "." else above + "/"
            top = above.partition("/")[0]
            if top == OWN[1 - self.side] or top in APART:
                directories.clear()
                continue
            ours = top == OWN[self.side]
            if not ours:
                self.share.shared.append(above.rstrip("/"))
            for name in sorted(directories) + sorted(files):
                self._meet(above + name, ours or owner_of(name) == self.side, ours)
        self.share.shared.sort()

    def _meet(self, path: str, is_ours: bool, in_own: bool) -> None:
        mode = os.lstat(self.at(path)).st_mode
        if stat.S_ISDIR(mode):
            if in_own:
                self.share.directories.add(path)
        elif is_ours and stat.S_ISREG(mode):
            self.share.files[path] = None
        elif is_ours and stat.S_ISLNK(mode):
            self.share.links[path] = os.readlink(self.at(path))
        elif is_ours and stat.S_ISFIFO(mode):
            self.share.fifos.add(path)

    def at(self, path: str) -> str:
        """Return where `path` is."""
        return f"{self.tree}/{path}"

    def touched(self, *paths: str) -> None:
        """Say which paths the present operation may leave in any state."""
        self.touching.update(paths)

    def fresh(self) -> str:
        """Return a path that was never there before, in any directory in which we may make it."""
        self._number += 1
        name = f"s{self.side}-{self.dice.randrange(10**9)}-{self._number}-{self.dice.choice(WORDS)}"
        own = sorted(self.share.directories)
        directory = self.dice.choice(own if own and self.dice.random() < 0.7 else self.share.shared)
        return f"{directory}/{name}" if directory else name

    def file(self) -> str:
        """Return one of our files."""
        return self.dice.choice(sorted(self.share.files)) if self.share.files else self.new_file()

    def directory(self) -> str:
        """Return one of our directories that is not a top-level one."""
        nested = sorted(path for path in self.share.directories if "/" in path)
        return self.dice.choice(nested) if nested else self.new_directory()

    def anything(self) -> str:
        """Return one of our paths, whatever it is."""
        known = [*self.share.files, *self.share.links, *self.share.fifos]
        return self.directory() if self.dice.random() < 0.2 else self.dice.choice(sorted(known) or [self.new_file()])

    def content_of(self, path: str) -> bytes:
        """Return what a file of ours holds."""
        known = self.share.files[path]
        if known is None:
            known = self.share.files[path] = Path(self.at(path)).read_bytes()
        return known

    def data(self, largest: int = 6000) -> bytes:
        """Return new bytes."""
        return self.dice.randbytes(self.dice.randrange(largest))

    def new_file(self) -> str:
        path, data = self.fresh(), self.data()
        self.touched(path)
        with open(self.at(path), "xb") as file:
            file.write(data)
        self.share.files[path] = data
        return path

    def new_directory(self) -> str:
        """Make a tree of directories with files in it."""
        path = self.fresh()
        self.touched(path)
        for directory in (path, f"{path}/in", f"{path}/in/deep"):
            os.mkdir(self.at(directory))
            self.share.directories.add(directory)
            for number in range(self.dice.randrange(4)):
                data = self.data(2000)
                Path(self.at(f"{directory}/f{number}")).write_bytes(data)
                self.share.files[f"{directory}/f{number}"] = data
        return path
