import datetime

import pytest

from csfs.errors import ConfigError
from csfs.trust import authority, issued

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def test_all_serials_of_a_name_are_remembered_in_order(tmp_path):
    made = authority.new_authority("web", NOW)
    request = authority.request_of(authority.new_key(), "beta")
    for member in ("beta", "gamma", "beta"):
        issued.note(tmp_path, member, made.sign(request, member, NOW))
    assert len(set(issued.serials_of(tmp_path, "beta"))) == 2
    assert len(issued.serials_of(tmp_path, "gamma")) == 1
    assert issued.serials_of(tmp_path, "delta") == []


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / issued.FILE).write_text("[")
    with pytest.raises(ConfigError, match=r"issued\.json.*restore"):
        issued.serials_of(tmp_path, "beta")
