"""A storm: a program that does everything that programs do to one side's share of a tree, and says what must be there at the end.

Two sides may storm in one tree at the same time and never touch the same path: each has top-level directories for itself, in
which it may do anything, and in all others the files whose names fall to it. Contents are remembered, so that the last word
on "is anything lost?" is not a comparison of two trees that may have lost the same.
"""

import argparse
import contextlib
import errno
import json
import mmap
import os
import shutil
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from csfs.store.syscalls import RENAME_EXCHANGE, renameat2
from scripts.support.belongings import Belongings
from scripts.support.share import is_at_or_below

OWNERS = ("root", "daemon", "www-data", "nobody", 12345)
GROUPS = ("root", "adm", "shadow", "www-data", 54321)
PROGRESS_EVERY = 20
REMOVED_FILES_MAX = 15
"""Larger trees are spared, or there would soon be nothing left."""
TORN = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.EIO, errno.ESTALE, errno.EINTR, errno.EBADF)
"""What a program is told whose mount dies in the middle of a call."""
FULL = (errno.ENOSPC, errno.EDQUOT)
BACK_S_MAX = 60.0


class Storm(Belongings):
    """One side's storm. `rough`: mounts may die under it, disks may be full; what it was doing then is not counted on."""

    def __init__(self, tree: str, side: int, seed: int, rough: bool) -> None:
        super().__init__(tree, side, seed)
        self.rough = rough
        self._operations: list[Callable[[], object]] = []
        for weight, operation in self._weights():
            self._operations += [operation] * weight

    def run(self, count: int, seconds: float = float("inf"), pause_s: float = 0.0) -> None:
        """Do `count` things, or as many as can be done in `seconds`; tell standard output how far it is."""
        deadline = time.monotonic() + seconds
        for number in range(count):
            if time.monotonic() > deadline:
                return
            time.sleep(pause_s)
            self.touching = set()
            try:
                self.dice.choice(self._operations)()
            except OSError as error:
                # While the mount is away the plain directory is there: what was made in between may be found or not.
                if not self.rough or error.errno not in (*TORN, *FULL, errno.ENOENT, errno.EEXIST, errno.EBUSY):
                    raise
                for path in self.touching:
                    self.share.forget(path, gone=False)
                self._wait_back()
            if number % PROGRESS_EVERY == 0:
                print(number, flush=True)

    def _wait_back(self) -> None:
        deadline = time.monotonic() + BACK_S_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                os.listdir(self.tree)
                return
            time.sleep(0.01)
        raise SystemExit(f"{self.tree} did not come back")

    # ----------------------------------------------------------------------------------------------------------- contents

    def overwrite(self) -> None:
        path, data = self.file(), self.data()
        self.touched(path)
        with open(self.at(path), "wb") as file:
            file.write(data)
        self.share.files[path] = data

    def append(self) -> None:
        path, data = self.file(), self.data(500)
        before = self.content_of(path)
        self.touched(path)
        with open(self.at(path), "ab") as file:
            file.write(data)
        self.share.files[path] = before + data

    def patch(self) -> None:
        path, data = self.file(), self.data(200)
        content = bytearray(self.content_of(path))
        offset = self.dice.randrange(len(content) + 100)
        self.touched(path)
        with open(self.at(path), "r+b") as file:
            file.seek(offset)
            file.write(data)
        if data:
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            content[offset : offset + len(data)] = data
        self.share.files[path] = bytes(content)

    def truncate(self) -> None:
        path = self.file()
        content = self.content_of(path)
        size = self.dice.randrange(2 * len(content) + 10)
        self.touched(path)
        os.truncate(self.at(path), size)
        self.share.files[path] = content[:size] + bytes(max(0, size - len(content)))

    def save_as_editors_do(self) -> None:
        path, data = self.file(), self.data()
        temporary = f"{os.path.dirname(path)}/s{self.side}-{self._number}.tmp".lstrip("/")
        self._number += 1
        self.touched(path, temporary)
        status = os.stat(self.at(path))
        with open(self.at(temporary), "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            if self.dice.random() < 0.3:
                file.flush()
                os.fsync(file.fileno())
        os.replace(self.at(temporary), self.at(path))
        self.share.files[path] = data
        self.share.gone.add(temporary)

    def map_and_change(self) -> None:
        path = self.file()
        content = bytearray(self.content_of(path))
        if not content:
            return
        offset = self.dice.randrange(len(content))
        content[offset] = self.dice.randrange(256)
        self.touched(path)

        def change() -> None:
            with open(self.at(path), "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
                mapped[offset] = content[offset]
                mapped.flush()

        if self.rough:
            _in_a_child(change)
        else:
            change()
        self.share.files[path] = bytes(content)

    def large_file(self) -> None:
        path, data = self.fresh(), self.dice.randbytes(self.dice.randrange(150_000, 700_000))
        self.touched(path)
        with open(self.at(path), "wb") as file:
            for first in range(0, len(data), 100_000):
                file.write(data[first : first + 100_000])
        self.share.files[path] = data

    def sparse_file(self) -> None:
        path, data = self.fresh(), self.data(3000)
        self.touched(path)
        with open(self.at(path), "wb") as file:
            file.truncate(1 << 20)
            file.seek(700_000)
            file.write(data)
        self.share.files[path] = bytes(700_000) + data + bytes((1 << 20) - 700_000 - len(data))

    def write_after_unlink(self) -> None:
        path = self.file()
        self.touched(path)
        with open(self.at(path), "ab") as file:
            file.write(b"before")
            file.flush()
            os.unlink(self.at(path))
            file.write(self.data())
        self.share.forget(path)

    def write_after_replacement(self) -> None:
        path, data = self.file(), self.data()
        temporary = f"{path}.s{self.side}"
        self.touched(path, temporary)
        with open(self.at(path), "r+b") as file:
            Path(self.at(temporary)).write_bytes(data)
            os.replace(self.at(temporary), self.at(path))
            file.write(b"nobody sees this")
        self.share.files[path] = data
        self.share.gone.add(temporary)

    # --------------------------------------------------------------------------------------------------------- attributes

    def chmod(self) -> None:
        path = self.anything()
        if path not in self.share.links:
            # Sticky, but not writable for others as well: fs.protected_regular would keep even root from open(O_CREAT) there.
            os.chmod(self.at(path), self.dice.choice((0o600, 0o644, 0o755, 0o4755, 0o2750, 0o1755, 0o400, 0o000)))

    def chown(self) -> None:
        path = self.anything()
        if path in self.share.links:
            os.lchown(self.at(path), self.dice.randrange(3), self.dice.randrange(3))
        else:
            shutil.chown(self.at(path), self.dice.choice(OWNERS), self.dice.choice(GROUPS))

    def utime(self) -> None:
        moment = self.dice.randrange(10**18, 16 * 10**17)
        os.utime(self.at(self.anything()), ns=(moment, moment), follow_symlinks=False)

    def xattr(self) -> None:
        path = self.at(self.file() if self.dice.random() < 0.7 else self.directory())
        name = f"user.s{self.dice.randrange(3)}"
        if name in os.listxattr(path):
            os.removexattr(path, name)
        else:
            os.setxattr(path, name, self.data(100))

    def acl(self) -> None:
        user, entries = self.dice.randrange(1, 5), []
        for tag, permissions, identity in ((1, 6, -1), (2, 4, user), (4, 4, -1), (0x10, 4, -1), (0x20, 0, -1)):
            entries.append(struct.pack("<HHi", tag, permissions, identity))
        if self.dice.random() < 0.3:
            path, name = self.directory(), "system.posix_acl_default"
        else:
            path, name = self.file(), "system.posix_acl_access"
        os.setxattr(self.at(path), name, struct.pack("<I", 2) + b"".join(entries))

    # -------------------------------------------------------------------------------------------------------------- names

    def symlink(self) -> None:
        path, target = self.fresh(), self.dice.choice(("/etc/passwd", "../x", "no where", self.file()))
        self.touched(path)
        os.symlink(target, self.at(path))
        self.share.links[path] = target

    def retarget(self) -> None:
        if not self.share.links:
            return
        path = self.dice.choice(sorted(self.share.links))
        temporary = f"{path}.s{self.side}"
        self.touched(path, temporary)
        os.symlink("elsewhere", self.at(temporary))
        os.replace(self.at(temporary), self.at(path))
        self.share.links[path] = "elsewhere"
        self.share.gone.add(temporary)

    def fifo(self) -> None:
        path = self.fresh()
        self.touched(path)
        os.mkfifo(self.at(path), 0o640)
        self.share.fifos.add(path)

    def remove_tree(self) -> None:
        path = self.directory()
        if sum(is_at_or_below(name, path) for name in self.share.files) > REMOVED_FILES_MAX:
            return
        self.touched(path)
        shutil.rmtree(self.at(path))
        self.share.forget(path)

    def remove_file(self) -> None:
        path = self.file()
        self.touched(path)
        os.unlink(self.at(path))
        self.share.forget(path)

    def rename_file(self) -> None:
        path = self.file()
        target = self.file() if self.dice.random() < 0.3 else self.fresh()
        if path == target:
            return
        self.content_of(path)
        self.touched(path, target)
        os.rename(self.at(path), self.at(target))
        self.share.move(path, target)

    def rename_directory(self) -> None:
        path, target = self.directory(), self.fresh()
        if is_at_or_below(target, path):
            return
        self.touched(path, target)
        os.rename(self.at(path), self.at(target))
        self.share.move(path, target)

    def exchange(self) -> None:
        first, second = self.file(), self.file()
        contents = self.content_of(first), self.content_of(second)
        self.touched(first, second)
        if first != second:
            here = os.open(self.tree, os.O_PATH)
            try:
                renameat2(here, os.fsencode(first), here, os.fsencode(second), RENAME_EXCHANGE)
            finally:
                os.close(here)
            self.share.files[second], self.share.files[first] = contents

    def file_becomes_directory(self) -> None:
        path = self.file()
        self.touched(path)
        os.unlink(self.at(path))
        self.share.forget(path)
        os.mkdir(self.at(path))
        Path(self.at(f"{path}/inside")).write_bytes(b"inside")
        self.share.files[f"{path}/inside"] = b"inside"
        self.share.directories.add(path)

    def directory_becomes_file(self) -> None:
        path, data = self.directory(), self.data()
        if sum(is_at_or_below(name, path) for name in self.share.files) > REMOVED_FILES_MAX:
            return
        self.touched(path)
        shutil.rmtree(self.at(path))
        self.share.forget(path)
        Path(self.at(path)).write_bytes(data)
        self.share.files[path] = data

    def _weights(self) -> list[tuple[int, Callable[[], object]]]:
        contents = [self.new_file, self.overwrite, self.append, self.patch, self.truncate, self.save_as_editors_do]
        attributes = [self.chmod, self.chown, self.utime, self.xattr, self.acl]
        names = [self.symlink, self.retarget, self.fifo, self.new_directory, self.remove_tree, self.remove_file]
        names += [self.rename_file, self.rename_directory, self.exchange]
        rare = [self.large_file, self.sparse_file, self.write_after_unlink, self.write_after_replacement]
        rare += [self.map_and_change, self.file_becomes_directory, self.directory_becomes_file]
        weighted = ((6, contents), (4, attributes), (3, names), (1, rare))
        return [(weight, operation) for weight, operations in weighted for operation in operations]


def _in_a_child(act: Callable[[], None]) -> None:
    """Do something in a process of its own: who touches a page of a file whose mount dies at that moment is ended by SIGBUS.

    Raises:
        OSError: what it raised, or EIO if it was ended so.
    """
    pid = os.fork()
    if pid == 0:
        code = errno.EPROTO  # a mistake of ours, which nobody expects
        try:
            act()
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        code = errno.EIO if code == -signal.SIGBUS else code
        raise OSError(code, os.strerror(code))


def main() -> None:
    """Storm, and write the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tree")
    parser.add_argument("report")
    parser.add_argument("--side", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two things")
    parser.add_argument("--rough", action="store_true")
    options = parser.parse_args()
    storm = Storm(options.tree, options.side, options.seed, options.rough)
    print("ready", flush=True)
    sys.stdin.readline()  # both sides look around before either begins
    storm.run(options.count, options.seconds, options.pause)
    Path(options.report).write_text(json.dumps(storm.share.report()))


if __name__ == "__main__":
    main()
