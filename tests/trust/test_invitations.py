import datetime
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csfs.errors import ConfigError, NotPermittedError
from csfs.trust.invitations import FILE, INVITATIONS_MAX, Invitation, Invitations, Token, token_from

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
POINT = b"\x02" + bytes(32)
OURS, OTHER = b"key of one host", b"key of another"

tokens = st.builds(
    Token,
    st.binary(min_size=33, max_size=33),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True),
    st.binary(min_size=32, max_size=32),
)


@pytest.fixture
def invitations(tmp_path):
    return Invitations(tmp_path / "keys")


@given(tokens)
def test_a_token_survives_being_copied(token):
    assert token_from(token.text()) == token
    assert token_from(f"  {token.text().upper()}\n") == token
    assert token.text().isalnum()


@given(tokens, st.data())
def test_a_token_that_lost_a_character_is_noticed(token, data):
    text = token.text()
    lost = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ConfigError, match="not a whole token"):
        token_from(text[:lost] + text[lost + 1 :])


@given(st.text())
def test_any_other_text_is_no_token(text):
    with pytest.raises(ConfigError, match="token"):
        token_from(text)


def test_an_invitation_is_good_for_its_host_until_it_expires(invitations):
    token = invitations.invite("beta", POINT, HOUR, NOW)
    assert not invitations.check("beta", token.secret, OURS, NOW)
    invitations.use("beta", token.secret, OURS, NOW)
    assert invitations.check("beta", token.secret, OURS, NOW)
    with pytest.raises(NotPermittedError, match="used already"):
        invitations.use("beta", token.secret, OTHER, NOW)
    with pytest.raises(NotPermittedError, match="expired"):
        invitations.use("beta", token.secret, OURS, NOW + HOUR)


def test_a_wrong_secret_or_name_uses_nothing_up(invitations):
    token = invitations.invite("beta", POINT, HOUR, NOW)
    for member, secret in (("beta", bytes(32)), ("gamma", token.secret), ("beta", b"")):
        with pytest.raises(NotPermittedError, match="wrong, expired or replaced"):
            invitations.use(member, secret, OURS, NOW)
    invitations.use("beta", token.secret, OURS, NOW)


def test_a_new_invitation_replaces_the_one_before(invitations):
    first = invitations.invite("beta", POINT, HOUR, NOW)
    second = invitations.invite("beta", POINT, HOUR, NOW)
    with pytest.raises(NotPermittedError):
        invitations.use("beta", first.secret, OURS, NOW)
    invitations.use("beta", second.secret, OURS, NOW)


def test_the_file_holds_no_secret_and_is_its_owners_alone(invitations, tmp_path):
    token = invitations.invite("beta", POINT, HOUR, NOW)
    file = tmp_path / "keys" / FILE
    assert token.secret.hex() not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_open_invitations_are_listed_and_can_be_withdrawn(invitations):
    for member in ("gamma", "beta"):
        invitations.invite(member, POINT, HOUR, NOW)
    assert [i.member for i in invitations.open(NOW)] == ["beta", "gamma"]
    invitations.withdraw("beta", NOW)
    assert [i.member for i in invitations.open(NOW)] == ["gamma"]
    assert invitations.open(NOW + HOUR) == []


def test_a_file_that_cannot_be_read_is_named(invitations, tmp_path):
    invitations.invite("beta", POINT, HOUR, NOW)
    (tmp_path / "keys" / FILE).write_text("{")
    with pytest.raises(ConfigError, match=f"{FILE}.*delete the file"):
        invitations.open(NOW)


def test_there_is_a_limit_to_open_invitations(invitations):
    full = [Invitation(f"m{n}", "", (NOW + HOUR).timestamp()) for n in range(INVITATIONS_MAX)]
    invitations._save(full)
    with pytest.raises(ConfigError, match="limit 1000"):
        invitations.invite("beta", POINT, HOUR, NOW)
