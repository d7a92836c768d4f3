"""What is changed without the mount: the host's own programs see it through the mount, and the peer follows."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.cli import client
from scripts.support.members import Member, free_port, kill, until
from tests.trees import differences

WITHIN_S = 20.0


class Place:
    """One directory as programs see it through alpha's mount, as it is underneath, and as beta has it."""

    def __init__(self, pair: tuple[Member, Member], name: str) -> None:
        self.alpha, self.beta = pair
        self.tree = self.alpha.tree / name
        self.underneath = self.alpha.underneath / name
        self.peer = self.beta.tree / name

    def make(self) -> None:
        """Make something of each kind through the mount, and have the kernel remember all of it."""
        (self.tree / "directory" / "deep").mkdir(parents=True)
        (self.tree / "other").mkdir()
        for name in ("file", "second", "directory/inner", "directory/deep/leaf"):
            (self.tree / name).write_text(f"old {name}")
        (self.tree / "link").symlink_to("file")
        self.alpha.wait()
        self.remember()

    def remember(self) -> None:
        for directory, _, files in os.walk(self.tree):
            for name in [*files, "new", "renamed"]:
                path = Path(directory, name)
                if os.path.lexists(path) and not path.is_symlink():
                    path.read_bytes()
                    os.listxattr(path)

    def run(self, script: str) -> None:
        """Run a program that was in the directory before the mount: its working directory is the one underneath."""
        subprocess.run(["sh", "-ec", script], cwd=self.underneath, check=True)

    def expect_equal(self) -> None:
        """Everybody gets to see what is underneath."""
        for what, path in (("programs here", self.tree), ("the peer", self.peer)):
            until(
                lambda path=path: differences(str(self.underneath), str(path)) == [],  # type: ignore[misc]
                f"{what} see what is underneath",
                WITHIN_S,
            )
        # What was read before the change is not what is shown now.
        assert contents(self.tree) == contents(self.underneath)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


CHANGES = {
    "written over": "echo new > file",
    "with size and time as before": "touch -r file .t; printf OLD | dd of=file conv=notrunc status=none; touch -r .t file; rm .t",
    "appended": "echo more >> directory/inner",
    "truncated": ": > file",
    "replaced": "echo new > .new; mv .new file",
    "replaced by a directory": "rm file; mkdir file; echo x > file/new",
    "chmod": "chmod 600 file; chmod 700 directory",
    "chown": "chown 1:2 file second",
    "an attribute": 'python3 -c \'import os; os.setxattr("file", "user.csfs", b"x")\'',
    "touch": "touch -d '2001-02-03 04:05:06' file",
    "created": "echo x > new; echo y > directory/new; mkfifo renamed",
    "directories made": "mkdir -p new/deeper/still; echo x > new/deeper/still/file",
    "renamed": "mv file renamed",
    "renamed elsewhere": "mv file directory/deep/renamed",
    "a directory renamed": "mv directory renamed; echo x > renamed/deep/new",
    "a directory moved": "mv directory other/; chmod 711 other/directory/deep",
    "two names exchanged": "mv file t; mv second file; mv t second",
    "removed": "rm file directory/inner",
    "a tree removed": "rm -r directory",
    "a tree removed and made again": "rm -r directory; mkdir directory; echo x > directory/inner",
    "a symlink": "ln -sf second link; ln -s x new",
    "a directory's own mode": "chmod 750 .",
    "mapped": (
        'python3 -c \'import mmap; f = open("file", "r+b"); m = mmap.mmap(f.fileno(), 0); m[:3] = b"new"; m.close(); f.close()\''
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_program_that_was_there_before_is_followed(pair: tuple[Member, Member], what: str) -> None:
    place = Place(pair, f"cwd {what}".replace(" ", "-").replace("'", ""))
    place.make()
    place.run(CHANGES[what])
    place.expect_equal()


def test_what_is_written_through_a_descriptor_from_before_is_seen(pair: tuple[Member, Member]) -> None:
    place = Place(pair, "descriptor")
    place.make()
    held = os.open(place.underneath / "file", os.O_WRONLY)
    try:
        for text in ("first", "second"):
            subprocess.run(["printf", f"{text} written"], stdout=held, check=True)
            until(lambda text=text: text in (place.tree / "file").read_text(), "programs see it", WITHIN_S)  # type: ignore[misc]
            until(lambda text=text: text in (place.peer / "file").read_text(), "the peer has it", WITHIN_S)  # type: ignore[misc]
    finally:
        os.close(held)


def test_root_may_come_another_way_to_the_same_file_system(pair: tuple[Member, Member], tmp_path: Path) -> None:
    place = Place(pair, "bound")
    place.make()
    elsewhere, outside = tmp_path / "elsewhere", place.alpha.directory / "outside"
    elsewhere.mkdir()
    (outside / "deeper").mkdir(parents=True)
    (outside / "deeper" / "file").write_text("x")
    subprocess.run(["mount", "--bind", str(place.alpha.directory), str(elsewhere)], check=True)
    try:
        tree = elsewhere / "tree" / "bound"
        (tree / "file").write_text("by another way")
        (elsewhere / "outside").rename(tree / "came-in")
        (tree / "directory").rename(elsewhere / "went-out")
        (tree / "came-in" / "deeper" / "file").write_text("changed after it came")
    finally:
        subprocess.run(["umount", str(elsewhere)], check=True)
    place.expect_equal()
    assert (place.peer / "came-in" / "deeper" / "file").read_text() == "changed after it came"
    assert not (place.peer / "directory").exists()


def test_a_file_that_was_renamed_without_the_mount_is_told_by_its_new_name(pair: tuple[Member, Member]) -> None:
    place = Place(pair, "renamed")
    place.make()
    with open(place.tree / "file", "a") as by_name, open(place.tree / "directory" / "inner", "a") as in_directory:
        place.run("mv file renamed; mv directory moved")
        place.expect_equal()
        by_name.write(" and more")
        in_directory.write(" and more")
    place.expect_equal()
    assert (place.peer / "renamed").read_text() == "old file and more"
    assert (place.peer / "moved" / "inner").read_text() == "old directory/inner and more"


def test_who_did_what_is_in_the_status(pair: tuple[Member, Member]) -> None:
    place = Place(pair, "status")
    place.make()
    before = place.alpha.volume()["underneath"]
    assert (before["watched"], before["reason"]) == (True, "")
    shell = subprocess.Popen(["sh", "-c", "echo x > new; read wait"], cwd=place.underneath, stdin=subprocess.PIPE)
    try:
        until(lambda: (place.tree / "new").exists(), "it is there", WITHIN_S)
        until(lambda: changes(place.alpha, "status/new") != [], "it is reported", WITHIN_S)
    finally:
        shell.communicate()
    [found] = changes(place.alpha, "status/new")
    assert (found["what"], found["pid"], found["program"]) == ("created", shell.pid, "sh")
    assert "changed under the mount: " in place.alpha.csfs("status", check=False).stdout
    assert changes(place.beta, "status/new") == []


def changes(member: Member, path: str) -> list[dict[str, object]]:
    return [change for change in member.volume()["underneath"]["changes"] if change["path"] == path]


@pytest.mark.parametrize("end", [Member.kill_daemon, Member.stop_daemon])
def test_what_was_changed_while_no_daemon_ran_is_found_when_it_is_back(
    pair: tuple[Member, Member], end: Callable[[Member], None]
) -> None:
    place = Place(pair, end.__name__)
    place.make()
    before = place.alpha.mount_pid
    end(place.alpha)
    place.run(CHANGES["written over"])
    place.run(CHANGES["renamed elsewhere"].replace("file", "second"))
    place.remember()
    place.alpha.start_daemon()
    place.expect_equal()
    assert place.alpha.mount_pid == before, "the mount served all the while, and the kernel remembered what it had read"


def test_what_goes_through_a_mount_is_not_noticed_as_passing_it_by(pair: tuple[Member, Member]) -> None:
    place = Place(pair, "own")
    place.make()
    before = [member.volume()["underneath"] for member in pair]
    for number in range(200):
        (place.tree / f"file-{number}").write_text("x")
        (place.tree / f"file-{number}").chmod(0o600)
        (place.peer.parent / f"theirs-{number}").write_text("y")
    for number in range(100):
        (place.tree / f"file-{number}").unlink()
        (place.tree / f"file-{number + 100}").rename(place.tree / f"directory/renamed-{number}")
    for member in pair:
        member.wait()
    after = [member.volume()["underneath"] for member in pair]
    assert [one["noticed"] for one in after] == [one["noticed"] for one in before]
    assert [one["count"] for one in after] == [one["count"] for one in before]


def test_what_is_changed_before_a_killed_mount_is_back_is_found(pair: tuple[Member, Member]) -> None:
    place = Place(pair, "between")
    place.make()
    (place.tree / "gone").write_text("x")
    place.alpha.wait()

    def changed_in_between(number: int) -> bool:
        """Change everything while nothing is mounted, if that lasts long enough."""
        before = place.alpha.mount_pid
        kill(before, signal.SIGKILL)
        until(lambda: not place.alpha.is_mounted or place.alpha.mount_pid != before, "the plain directory is back")
        (place.tree / "file").write_text(f"in between, {number}")
        (place.tree / f"new-{number}").mkdir()
        (place.tree / "second").chmod(0o600 + number)
        (place.tree / "gone").unlink(missing_ok=True)
        was_plain = not place.alpha.is_mounted
        until(lambda: place.alpha.is_mounted, "it is mounted again")
        return was_plain

    # It is mounted again at once after the first death, and ever later after those that follow.
    assert any(changed_in_between(number) for number in range(6))
    place.expect_equal()
    assert (place.peer / "file").read_text().startswith("in between")
    assert not (place.peer / "gone").exists()


@pytest.fixture
def unwatched(tmp_path: Path) -> Iterator[Member]:
    """A member that is alone, and whose volume is not watched."""
    member = Member(tmp_path, "alpha", free_port())
    member.directory.mkdir(exist_ok=True)
    try:
        member.found()
        with member.home.settings_file.open("a") as file:
            file.write('watch = false\ncompare = "never"\n')
        member.mount()
        until(lambda: member.volume()["state"] == "replicating", "it replicates")
        yield member
    finally:
        member.stop()


def test_a_comparison_finds_what_nobody_watched(unwatched: Member) -> None:
    member = unwatched
    (member.tree / "file").write_text("old")
    (member.tree / "gone").write_text("old")
    member.wait()
    assert (member.tree / "file").read_text() == "old"
    assert not (member.tree / "new").exists()
    assert compared(member) == []
    (member.underneath / "file").write_text("new content")
    (member.underneath / "new").write_text("x")
    (member.underneath / "gone").unlink()
    with open(member.tree / "log", "a") as log:
        log.write("this goes through the mount, and is not told yet")
        log.flush()
        assert sorted(compared(member)) == [("file", "written"), ("gone", "removed"), ("new", "created")]
    done = member.csfs("compare", str(member.tree), check=False)
    assert (done.returncode, done.stdout) == (0, "3 paths, 0 changed without the mount\n")
    until(lambda: (member.tree / "file").read_text() == "new content", "programs see it", WITHIN_S)
    until(lambda: sorted(os.listdir(member.tree)) == ["file", "log", "new"], "names are right", WITHIN_S)
    assert not (member.tree / "gone").exists()
    assert member.volume()["underneath"]["watched"] is False


def test_who_was_there_before_the_mount_is_named_when_it_is_mounted(unwatched: Member) -> None:
    member = unwatched
    member.umount()
    holder = subprocess.Popen(["sh", "-c", "read line"], cwd=member.tree, stdin=subprocess.PIPE)
    try:
        done = member.csfs("mount", str(member.tree))
        how = f"works in {member.tree}"
        assert f"sh ({holder.pid}) {how}" in done.stderr
        assert f"sh ({holder.pid}) {how}" in member.csfs("status", check=False).stdout
        assert {"pid": holder.pid, "program": "sh", "how": how} in member.volume()["underneath"]["passing"]
    finally:
        holder.communicate()


def compared(member: Member) -> list[tuple[str, str]]:
    """Compare the volume and return what was found: path and what became of it."""
    value = client.ask(member.home, "compare", {"path": bytes(member.tree)})
    return [(change["path"], change["what"]) for change in value["changes"]]
