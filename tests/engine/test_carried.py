"""What a host cannot show goes along with what is renamed there (R4)."""

from csfs.core.paths import RelPath
from csfs.engine.plans import is_carried_out
from tests.engine.members import directory, found, sides


def test_an_owner_that_this_host_cannot_show_moves_along() -> None:
    alpha, beta = sides("alpha", "beta")
    for name, owner in ((b"old", "bob"), (b"other", "eve")):
        alpha.sees(name, found(name, uid=1001, owner=owner))
    beta.hears(alpha)
    beta.shows(b"old", found(b"old", uid=1001, owner="carol", inode=5))
    beta.shows(b"other", found(b"other", uid=1001, owner="carol", inode=6))
    beta.sees(b"new", found(b"old", uid=1001, owner="carol", inode=5), moved_from=RelPath(b"old"))
    beta.sees(b"old", None, moved_to=RelPath(b"new"))
    assert beta.row(b"new").record.meta.entries[0].value.owner == "bob"
    beta.sees(b"new", found(b"other", uid=1001, owner="carol", inode=6), moved_from=RelPath(b"other"))
    beta.sees(b"other", found(b"old", uid=1001, owner="carol", inode=5), moved_from=RelPath(b"new"))
    assert beta.row(b"new").record.meta.entries[0].value.owner == "eve", "exchanged"
    assert beta.row(b"other").record.meta.entries[0].value.owner == "bob"


def test_an_owner_that_this_host_cannot_show_moves_along_to_where_something_else_had_the_same() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"file", found(b"file", uid=1001, owner="bob"))
    alpha.sees(b"d", directory(mode=0o640, uid=1001, owner="bob"))
    beta.hears(alpha)
    shown = {"uid": 1001, "owner": "carol"}
    beta.shows(b"file", found(b"file", inode=5, **shown))
    beta.shows(b"d", directory(inode=6, mode=0o640, **shown))
    file, other = RelPath(b"file"), RelPath(b"d")
    beta.sees(file, directory(inode=6, mode=0o640, **shown), moved_from=other, moved_to=other)
    beta.sees(other, found(b"file", inode=5, mode=0o640, **shown), moved_from=file, moved_to=file)
    assert [beta.row(path).record.meta.entries[0].value.owner for path in (file, other)] == ["bob", "bob"]


def test_an_owner_that_this_host_cannot_show_moves_along_to_where_the_one_before_looked_the_same() -> None:
    alpha, beta = sides("alpha", "beta")
    for name, owner in ((b"d", "bob"), (b"e", "eve")):
        alpha.sees(name, directory(uid=1001, owner=owner))
    beta.hears(alpha)
    before, after = (directory(uid=1001, owner="carol", inode=inode) for inode in (5, 6))
    beta.shows(b"d", before)
    beta.shows(b"e", after)
    beta.sees(b"d", after, moved_from=RelPath(b"e"))
    beta.sees(b"e", None, moved_to=RelPath(b"d"))
    assert beta.row(b"d").record.meta.entries[0].value.owner == "eve"
    assert not beta.sees(b"d", after, moved_from=RelPath(b"e")), "it is known"
    assert beta.plans(b"d") is None


def test_an_owner_that_this_host_cannot_show_moves_along_though_a_kill_was_to_take_the_file_away() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"old", found(b"one", uid=1001, owner="bob"))
    beta.hears(alpha)
    shown = found(b"one", uid=1001, owner="carol", inode=5)
    beta.shows(b"old", shown)
    alpha.sees(b"old", None)
    beta.hears(alpha)
    plan = beta.plans(b"old")
    assert plan is not None
    # Beta was killed before the plan was carried out, and somebody has renamed the file since.
    assert is_carried_out(plan, None)
    beta.engine.applied(plan, None, racy=True)
    beta.sees(b"new", shown, moved_from=RelPath(b"old"))
    assert beta.row(b"new").record.meta.entries[0].value.owner == "bob"


def test_who_replaces_a_nameless_owner_s_file_with_a_named_one_s_of_the_same_number_says_so() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"nameless", found(b"1", uid=1001, owner=""))
    alpha.sees(b"named", found(b"2", uid=1001, owner="bob"))
    beta.hears(alpha)
    beta.shows(b"nameless", found(b"1", inode=5, uid=1001, owner="bob"))
    beta.shows(b"named", found(b"2", inode=6, uid=1001, owner="bob"))
    source, target = RelPath(b"named"), RelPath(b"nameless")
    beta.sees(target, found(b"2", inode=6, uid=1001, owner="bob"), moved_from=source)
    assert beta.row(target).record.meta.entries[0].value.owner == "bob"
