"""A configuration that a peer passes on is taken over as a whole, with what shows that the authority wrote it."""

import datetime
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from csfs.config import files, home, render
from csfs.config.home import Home
from csfs.config.settings import HostSettings, MemberSettings, Settings
from csfs.daemon.cluster import Cluster
from csfs.errors import UnwritableError
from csfs.trust import authority, certificates, signatures
from csfs.wire import messages

NOW = datetime.datetime.now(datetime.UTC)
SETTINGS = Settings("web", tuple(MemberSettings(name) for name in ("alpha", "beta", "gamma")))


class Members:
    """Homes of members of one cluster, of which none has the authority's key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = authority.new_authority("web", NOW)
        self.changed: list[str] = []
        """Which members were told that their configuration is another one."""

    def member(self, name: str) -> Cluster:
        """Return what a member makes of its configuration."""
        place: Home = home.chosen(str(self._directory / name)).made()
        key = authority.new_key()
        place.keys.mkdir(mode=0o700)
        certificates.save(place.keys, certificates.MEMBER_KEY, certificates.pem_of_key(key))
        certificate = self._authority.sign(authority.request_of(key, name), name, NOW)
        certificates.save_membership(place.keys, certificate, authority.pem_of(self._authority.certificate))
        files.store(place, SETTINGS)
        files.store_host(place, HostSettings(name))
        return Cluster(place, lambda: self.changed.append(name))

    def signed(self, settings: Settings) -> messages.Settings:
        """Return how the authority tells a configuration."""
        text = render.rendered(settings)
        return messages.Settings(settings.revision, text, signatures.signature_of(self._authority.key, text))


@pytest.fixture
def members(tmp_path: Path) -> Members:
    return Members(tmp_path)


@pytest.mark.parametrize("failing", ["the first", "the second"])
async def test_what_cannot_be_written_is_taken_over_and_passed_on_the_next_time(
    members: Members, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    beta, gamma = members.member("beta"), members.member("gamma")
    newer = members.signed(replace(SETTINGS, revision=2))
    left = [failing == "the second", False]
    write = files.write

    def full(file: Path, data: bytes, mode: int) -> None:
        if not left.pop(0):
            raise OSError(28, "No space left on device", str(file))
        write(file, data, mode)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write", full)
        with pytest.raises(UnwritableError, match="cannot be written"):
            await beta.settings_received("alpha", newer)
    beta.reload()
    assert (beta.settings, members.changed) == (SETTINGS, []), "alpha tells it again"
    await beta.settings_received("alpha", newer)
    beta.reload()
    assert (beta.settings.revision, members.changed) == (2, ["beta"])
    passed_on = beta.settings_for(gamma.hello((), {}))
    assert passed_on == newer


async def test_what_was_copied_here_counts_when_it_is_told(members: Members) -> None:
    beta, gamma = members.member("beta"), members.member("gamma")
    newer = members.signed(replace(SETTINGS, revision=2))
    files.store(beta.home, replace(SETTINGS, revision=2))
    for _ in range(2):
        await beta.settings_received("alpha", newer)
        assert members.changed == ["beta"], "once"
        beta.reload()
    assert beta.settings_for(gamma.hello((), {})) == newer


async def test_what_is_older_or_of_nobody_changes_nothing(members: Members) -> None:
    beta = members.member("beta")
    files.store(beta.home, replace(SETTINGS, revision=3))
    await beta.settings_received("alpha", members.signed(replace(SETTINGS, revision=2)))
    assert (files.loaded(beta.home).revision, members.changed) == (3, [])
    forged = msgspec.structs.replace(members.signed(replace(SETTINGS, revision=4)), signature=b"x")
    with pytest.raises(Exception, match="not signed"):
        await beta.settings_received("alpha", forged)
