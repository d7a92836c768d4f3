"""What two members do while one of them is killed. Each scenario prepares, yields, acts, and returns what is to be seen in the end."""

import os
import shutil
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from csfs.errors import ConfigError, UnreachableError
from csfs.store.hashing import BLOCK_SIZE
from scripts.crashing.members import Pair
from scripts.support.members import Member

DIRECTORY = None
"""What `Seen` says of a directory."""
ABSENT = b"<nothing>"
LARGE_SIZE = 5 * BLOCK_SIZE + 17

Seen = Mapping[str, bytes | None]
"""By name, the content that a file must have, `DIRECTORY`, or `ABSENT`."""
Course = Generator[None, None, Seen]


@dataclass
class Scene:
    """One run's own directory `name`, at the member who acts and at the other. `size` is how many bytes of contents it has made.

    `both`: both members make versions. `displaced` are contents that some member has to have kept in the end, and in the history of
    where they were.
    """

    pair: Pair
    name: str
    actor: Member
    size: int = 0
    both: bool = False
    displaced: list[bytes] = field(default_factory=list)

    @property
    def other(self) -> Member:
        """The member who does not act."""
        return next(member for member in self.pair.members if member is not self.actor)

    @property
    def here(self) -> Path:
        """The directory at the member who acts."""
        return self.actor.tree / self.name

    @property
    def there(self) -> Path:
        """The directory at the other one."""
        return self.other.tree / self.name

    def own(self, text: bytes) -> bytes:
        """Return a content that no other run has: what that one kept is not to be taken for what this one lost."""
        return text + b" in " + os.fsencode(self.name)

    def do(self, act: Callable[..., object], *arguments: object) -> None:
        """Have a program do something."""
        self.pair.do(lambda: act(*arguments))

    def write(self, path: Path, data: bytes) -> None:
        """Have a program write a file in place."""
        self.size += len(data)
        self.do(path.write_bytes, data)

    def ask(self, command: str, **arguments: object) -> None:
        """Have a command carried out, again if its daemon died of it; what was decided already is as good.

        Whoever asks a daemon that has just begun may be told to ask again: it has no link yet to who has the content.
        """

        def asked() -> None:
            try:
                answer = self.actor.ask(command, dry_run=False, **arguments)
            except ConfigError as error:
                if not (self.pair.deaths and "no conflict" in str(error)):
                    raise
                return
            for result in answer[f"{command}d"]:
                if result["error"]:
                    assert self.pair.deaths, result["error"]
                    raise UnreachableError(result["error"])

        self.do(asked)


def creates(scene: Scene) -> Course:
    """A small file is made."""
    yield
    scene.write(scene.here / "f", b"new")
    return {"f": b"new"}


def edits(scene: Scene) -> Course:
    """A small file is written anew."""
    scene.write(scene.here / "f", b"old")
    yield
    scene.write(scene.here / "f", b"new and longer")
    return {"f": b"new and longer"}


def creates_large(scene: Scene) -> Course:
    """A file of several blocks is made."""
    data = os.urandom(LARGE_SIZE)
    yield
    scene.write(scene.here / "f", data)
    return {"f": data}


def edits_large(scene: Scene) -> Course:
    """Two blocks of a file are written."""
    data = bytearray(os.urandom(LARGE_SIZE))
    scene.write(scene.here / "f", bytes(data))
    yield
    data[BLOCK_SIZE - 3 : BLOCK_SIZE + 3] = b"middle"
    scene.do(_overwrite, scene.here / "f", BLOCK_SIZE - 3, b"middle")
    return {"f": bytes(data)}


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:  # buffered: a write of which a part was done is gone on with
        file.seek(offset)
        file.write(data)


def overwrites(scene: Scene) -> Course:
    """Parts of a file are written, and it grows; the other member overwrites it where it is."""
    data = bytearray(os.urandom(LARGE_SIZE))
    scene.write(scene.here / "f", bytes(data))
    yield
    for at, written in ((BLOCK_SIZE - 3, b"middle"), (3 * BLOCK_SIZE, b"another block"), (len(data), b"the new end")):
        data[at : at + len(written)] = written
        scene.size += 2 * BLOCK_SIZE
        scene.do(_overwrite, scene.here / "f", at, written)
    return {"f": bytes(data)}


def gives(scene: Scene) -> Course:
    """A file gets another owner, another mode, an attribute and a time, one after the other."""
    scene.write(scene.here / "f", b"given")
    yield
    for act, arguments in (
        (os.chown, (4711, 4712)),
        (os.chmod, (0o2640,)),
        (os.setxattr, ("user.crash", b"value")),
    ):
        scene.do(act, scene.here / "f", *arguments)
    scene.do(lambda: os.utime(scene.here / "f", ns=(1, 1_234_567_890_123_456_789)))
    return {"f": b"given"}


def renames(scene: Scene) -> Course:
    """A file is renamed, and a directory with one in it."""
    scene.write(scene.here / "f", b"moved")
    os.mkdir(scene.here / "d")
    scene.write(scene.here / "d/x", b"along")
    yield
    scene.do(os.rename, scene.here / "f", scene.here / "g")
    scene.do(os.rename, scene.here / "d", scene.here / "e")
    return {"f": ABSENT, "g": b"moved", "d": ABSENT, "e/x": b"along"}


def carries(scene: Scene) -> Course:
    """A directory with several files in it, and another directory, is renamed: one step, or one for each path."""
    os.makedirs(scene.here / "d/s")
    for name in ("x", "y", "s/z"):
        scene.write(scene.here / "d" / name, name.encode())
    yield
    scene.do(os.rename, scene.here / "d", scene.here / "e")
    return {"d": ABSENT, "e/x": b"x", "e/y": b"y", "e/s/z": b"s/z"}


def links(scene: Scene) -> Course:
    """A file of two names is written through one of them, gets a third name, and loses one."""
    scene.write(scene.here / "f", b"before")
    os.link(scene.here / "f", scene.here / "g")
    yield
    scene.write(scene.here / "g", b"written through g")
    scene.do(os.link, scene.here / "f", scene.here / "h")
    scene.do(os.unlink, scene.here / "f")
    return {"f": ABSENT, "g": b"written through g", "h": b"written through g"}


def follows(scene: Scene) -> Course:
    """Who acts renames a file, just changed, and moves a directory on; the other one has edited both without having heard of it."""
    scene.both = True
    scene.write(scene.here / "f", b"before")
    os.mkdir(scene.here / "d")
    scene.write(scene.here / "d/x", b"inside")
    yield
    with scene.pair.apart():
        scene.write(scene.there / "f", b"the edit")
        scene.write(scene.there / "d/x", b"the edit inside")
        scene.do(os.chmod, scene.here / "f", 0o640)  # what is looked at therefore is moved by then, perhaps
        scene.do(os.rename, scene.here / "f", scene.here / "g")
        scene.do(os.rename, scene.here / "d", scene.here / "e")
    return {"f": ABSENT, "g": b"the edit", "d": ABSENT, "e/x": b"the edit inside"}


def removes(scene: Scene) -> Course:
    """A file is removed, and a directory with one in it."""
    scene.displaced += [scene.own(b"removed"), scene.own(b"removed, too")]
    scene.write(scene.here / "f", scene.displaced[0])
    os.mkdir(scene.here / "d")
    scene.write(scene.here / "d/x", scene.displaced[1])
    yield
    scene.do(os.unlink, scene.here / "f")
    scene.do(lambda: shutil.rmtree(scene.here / "d"))
    return {"f": ABSENT, "d": ABSENT}


def installs(scene: Scene) -> Course:
    """A directory is made, with objects of other kinds in it."""
    yield
    scene.do(os.mkdir, scene.here / "d", 0o750)
    scene.write(scene.here / "d/x", b"inside")
    scene.do(os.symlink, "x", scene.here / "d/link")
    scene.do(os.mkfifo, scene.here / "d/fifo")
    return {"d": DIRECTORY, "d/x": b"inside"}


def turns(scene: Scene) -> Course:
    """A directory comes where a file was, and a file where a directory was."""
    scene.displaced.append(scene.own(b"a file"))
    scene.write(scene.here / "f", scene.displaced[0])
    os.mkdir(scene.here / "d")
    yield
    scene.do(os.unlink, scene.here / "f")
    scene.do(os.mkdir, scene.here / "f")
    scene.write(scene.here / "f/x", b"inside")
    scene.do(os.rmdir, scene.here / "d")
    scene.write(scene.here / "d", b"now a file")
    return {"f": DIRECTORY, "f/x": b"inside", "d": b"now a file"}


def disputes(scene: Scene) -> Course:
    """Both write a file without having seen the other's; the one who acts does so later."""
    scene.both = True
    scene.write(scene.here / "f", b"before")
    yield
    with scene.pair.apart():
        earlier, later = _dispute(scene)
    scene.displaced.append(earlier)
    return {"f": later}


def _dispute(scene: Scene) -> tuple[bytes, bytes]:
    """Make two versions, and return their contents: the earlier one, of the other member, and the later one."""
    earlier, later = scene.own(b"the earlier one"), scene.own(b"the later one")
    scene.write(scene.there / "f", earlier)
    scene.write(scene.here / "f", later)
    scene.do(lambda: os.utime(scene.there / "f", ns=(1, 1_000_000_000_000_000_000)))
    return earlier, later


def merges(scene: Scene) -> Course:
    """Both edit a text, each another line, without having seen the other's edit; what both did is put together."""
    scene.both = True
    lines = [b"line %d" % number for number in range(9)]
    scene.write(scene.here / "f", b"\n".join(lines))
    yield
    ours, theirs, merged = list(lines), list(lines), list(lines)
    ours[1] = merged[1] = scene.own(b"ours")
    theirs[7] = merged[7] = scene.own(b"theirs")
    scene.displaced += [b"\n".join(ours), b"\n".join(theirs)]
    with scene.pair.apart():
        scene.write(scene.here / "f", scene.displaced[0])
        scene.write(scene.there / "f", scene.displaced[1])
    wanted = b"\n".join(merged)
    scene.size += len(wanted)
    places = (scene.here / "f", scene.there / "f")
    scene.pair.wait_until(lambda: all(place.read_bytes() == wanted for place in places), "it is merged")
    return {"f": wanted}


def resolves(scene: Scene) -> Course:
    """A conflict is settled in favour of the earlier version, which the other member made."""
    scene.write(scene.here / "f", b"before")
    scene.pair.settle()
    with scene.pair.apart():
        earlier, later = _dispute(scene)
    scene.pair.settle()
    yield
    path = os.fsencode(scene.here / "f")
    scene.ask("resolve", paths=[path], member=scene.other.name, lenient=False, new=None)
    scene.displaced.append(later)
    return {"f": earlier}


def restores(scene: Scene) -> Course:
    """What the other member replaced is brought back."""
    worth, mistake = scene.own(b"worth having"), scene.own(b"a mistake")
    scene.write(scene.here / "f", worth)
    scene.pair.settle()
    scene.write(scene.there / "f", mistake)
    scene.pair.settle()
    path = os.fsencode(scene.here / "f")
    (version,) = (one for one in scene.actor.ask("history", path=path)["versions"] if one["kept_ns"])
    yield
    scene.ask("restore", path=path, version=version["version"], to=None)
    scene.displaced.append(mistake)
    return {"f": worth}


IN_PLACE = ("overwrites",)
"""Scenarios of volumes that have `apply = "in-place"`."""
SCENARIOS: dict[str, Callable[[Scene], Course]] = {
    one.__name__: one
    for one in (
        creates,
        edits,
        creates_large,
        edits_large,
        overwrites,
        gives,
        renames,
        carries,
        links,
        follows,
        removes,
        installs,
        turns,
        disputes,
        merges,
        resolves,
        restores,
    )
}
