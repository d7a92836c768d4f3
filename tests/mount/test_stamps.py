"""Stamps that commits move."""

from csfs.core.objects import Stamp
from csfs.mount import stamps as stamps_module
from csfs.mount.stamps import Stamps


def at(ctime_ns: int, inode: int = 7) -> Stamp:
    return Stamp(inode, 1, 1, ctime_ns)


def test_a_stamp_that_commits_have_moved_is_as_expected() -> None:
    stamps = Stamps()
    assert stamps.is_same(at(1), at(1))
    assert not stamps.is_same(at(2), at(1))
    stamps.note(at(1), at(2))
    stamps.note(at(2), at(3))
    assert stamps.is_same(at(3), at(1))
    assert stamps.is_same(at(3), at(2))
    assert not stamps.is_same(at(2), at(1))
    assert not stamps.is_same(at(3), at(0))
    assert not stamps.is_same(at(3, inode=8), at(1, inode=8))


def test_what_somebody_changed_between_two_commits_is_not_as_expected_before() -> None:
    stamps = Stamps()
    stamps.note(at(1), at(2))
    assert not stamps.is_same(at(5), at(1)), "changed by somebody"
    stamps.note(at(5), at(6))
    assert stamps.is_same(at(6), at(5))
    assert not stamps.is_same(at(6), at(1))


def test_of_too_many_the_oldest_are_forgotten() -> None:
    stamps = Stamps()
    for inode in range(stamps_module.INODES_MAX + 1):
        stamps.note(at(1, inode), at(2, inode))
    assert not stamps.is_same(at(2, 0), at(1, 0))
    assert stamps.is_same(at(2, 1), at(1, 1))
