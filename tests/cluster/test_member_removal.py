"""A member that is removed is refused, and what it alone had the content of is wanted by nobody any more."""

import os

from csfs.errors import ExitCode
from scripts.support.members import Member, until
from tests.cluster.test_memory import index_of
from tests.cluster.test_versions import ran, told

Pair = tuple[Member, Member]


def test_a_removed_member_is_refused_and_nothing_stays_wanted(pair: Pair) -> None:
    alpha, beta = pair
    (alpha.tree / "ours").write_text("ours\n")
    (beta.tree / "shared").write_text("shared\n")
    alpha.wait()
    beta.wait()
    listed = told(alpha, "member", "list")
    assert {one["name"]: one["here"] for one in listed} == {"alpha": True, "beta": False}
    assert all(one["connected"] or one["here"] for one in listed)
    assert ran(beta, "member", "remove", "alpha").returncode == ExitCode.NOT_PERMITTED
    assert ran(alpha, "member", "remove", "alpha").returncode == ExitCode.REFUSED
    assert ran(alpha, "member", "remove", "gamma").returncode == ExitCode.REFUSED

    alpha.umount()
    (beta.tree / "large").write_bytes(os.urandom(8 << 20))
    wanted = "SELECT awaited FROM rows WHERE awaited"
    until(lambda: index_of(alpha, wanted) == [(8 << 20,)], "alpha has heard of all of it, and not fetched it")
    beta.stop_daemon()
    alpha.mount()
    until(lambda: alpha.volume()["state"] == "replicating", "alpha is there again")
    dry = told(alpha, "member", "remove", "beta", "--dry-run")
    assert [(one["path"], one["shown"]) for one in dry["lost"]] == [(str(alpha.tree / "large"), "absent")]
    assert {one["name"] for one in told(alpha, "member", "list")} == {"alpha", "beta"}
    assert alpha.volume()["pending"] >= 1

    removed = told(alpha, "member", "remove", "beta")
    assert (removed["lost"], removed["errors"]) == (dry["lost"], [])
    assert [one["name"] for one in told(alpha, "member", "list")] == ["alpha"]
    assert not (alpha.tree / "large").exists()
    until(lambda: alpha.volume()["pending"] == 0, "nothing is wanted any more")
    (alpha.tree / "after").write_text("beta does not get this\n")
    beta.start_daemon()
    until(
        lambda: "not among the members" in beta.peer()["error"] or "revoked" in beta.peer()["error"], "beta is refused"
    )
    assert not (beta.tree / "after").exists()
    assert (beta.tree / "large").stat().st_size == 8 << 20, "what it has stays there"
