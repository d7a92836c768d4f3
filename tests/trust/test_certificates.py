import datetime
import os
import stat

import pytest

from csfs.errors import ConfigError, NotPermittedError
from csfs.trust import authority, certificates
from csfs.trust.certificates import (
    AUTHORITY_CERTIFICATE,
    AUTHORITY_KEY,
    MEMBER_CERTIFICATE,
    MEMBER_KEY,
    found_cluster,
    load_authority,
    load_credentials,
)

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def keys(tmp_path):
    found_cluster(tmp_path / "keys", "web", "ash", NOW)
    return tmp_path / "keys"


def test_a_founder_is_a_member_that_can_make_members(keys):
    credentials = load_credentials(keys, NOW)
    assert (credentials.identity.cluster, credentials.identity.member) == ("web", "ash")
    assert load_authority(keys).cluster == "web"
    assert credentials.is_valid_now


def test_nobody_else_can_read_the_keys_directory_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        found_cluster(tmp_path / "keys", "web", "ash", NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "keys").iterdir()} == {0o600}


def test_a_directory_that_was_open_to_others_is_closed(tmp_path):
    (tmp_path / "keys").mkdir(mode=0o755)
    certificates.save(tmp_path / "keys", "x", b"")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_saving_replaces_the_whole_file_and_leaves_nothing_beside_it(keys):
    before = sorted(file.name for file in keys.iterdir())
    certificates.save(keys, MEMBER_KEY, b"new")
    assert (keys / MEMBER_KEY).read_bytes() == b"new"
    assert sorted(file.name for file in keys.iterdir()) == before


def test_saving_that_fails_leaves_the_old_file(keys):
    with pytest.raises(TypeError):
        certificates.save(keys, MEMBER_KEY, "not bytes")  # type: ignore[arg-type]
    assert load_credentials(keys, NOW).identity.member == "ash"
    assert len(list(keys.iterdir())) == 4


def test_a_founder_cannot_found_again(keys):
    with pytest.raises(ConfigError, match="a member already"):
        found_cluster(keys, "web", "ash", NOW)


def test_a_name_that_cannot_be_used_leaves_no_trace(tmp_path):
    with pytest.raises(ConfigError):
        found_cluster(tmp_path / "keys", "web", "a b", NOW)
    assert not (tmp_path / "keys").exists()


def test_keys_that_others_may_read_are_refused_with_the_cure(keys):
    (keys / MEMBER_KEY).chmod(0o640)
    with pytest.raises(ConfigError, match=r"chmod 600 .*member\.key"):
        load_credentials(keys, NOW)


@pytest.mark.parametrize("name", [AUTHORITY_CERTIFICATE, MEMBER_CERTIFICATE, MEMBER_KEY])
def test_a_missing_file_is_named(keys, name):
    (keys / name).unlink()
    with pytest.raises(ConfigError, match=f"{name} is missing: run `csfs init` or `csfs join`"):
        load_credentials(keys, NOW)


@pytest.mark.parametrize("name", [AUTHORITY_CERTIFICATE, MEMBER_CERTIFICATE, MEMBER_KEY])
def test_a_file_of_nonsense_is_named(keys, name):
    (keys / name).write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=name):
        load_credentials(keys, NOW)


def test_a_key_that_belongs_to_another_certificate_is_refused(keys):
    certificates.save(keys, MEMBER_KEY, certificates.pem_of_key(authority.new_key()))
    with pytest.raises(ConfigError, match="does not belong"):
        load_credentials(keys, NOW)


def test_an_authority_whose_key_is_another_is_refused(keys):
    certificates.save(keys, AUTHORITY_KEY, certificates.pem_of_key(authority.new_key()))
    with pytest.raises(ConfigError, match="does not belong"):
        load_authority(keys)


def test_a_certificate_of_another_cluster_is_refused(keys):
    other = authority.new_authority("web", NOW)
    certificates.save(keys, AUTHORITY_CERTIFICATE, authority.pem_of(other.certificate))
    with pytest.raises(ConfigError, match="not made by this cluster"):
        load_credentials(keys, NOW)


def test_an_expired_certificate_of_our_own_is_noticed(keys):
    for day, valid in ((0, True), (-2, False), (30_000, False)):
        assert load_credentials(keys, NOW + datetime.timedelta(days=day)).is_valid_now == valid


def test_who_has_no_authority_is_told_where_to_invite(keys):
    (keys / AUTHORITY_KEY).unlink()
    with pytest.raises(NotPermittedError, match="where `csfs init` ran"):
        load_authority(keys)


def test_a_pending_key_survives_until_the_join_succeeds(tmp_path):
    first = certificates.pending_key(tmp_path / "new")
    second = certificates.pending_key(tmp_path / "new")
    assert first.public_key() == second.public_key()
