"""What csfs.toml may say of actions."""

import re

import pytest

from csfs.config import reader, settings
from csfs.config.commands import ActionSettings
from csfs.errors import ConfigError

VOLUME = 'cluster = "web"\n[members.a]\n[members.b]\n[volumes.v]\npath = "/etc"\n[[volumes.v.actions]]\n'


def test_an_action_is_read_with_what_is_usual() -> None:
    text = VOLUME + 'paths = ["/x", "*.conf"]\ncommand = ["systemctl", "reload", "x"]\n'
    (action,) = reader.parse(text).volume("v").actions
    assert action == ActionSettings(("/x", "*.conf"), ("systemctl", "reload", "x"), "applied", (), "1s", "60s")
    assert (action.settle_s, action.timeout_s) == (1.0, 60.0)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('command = ["x"]', "paths: is missing; write the patterns"),
        ('paths = ["/a"]', "command: is missing; it must be a list of strings"),
        ('paths = ["/a"]\ncommand = ["bin/x"]', 'command: "bin/x" must be a bare name'),
        ('paths = ["/a"]\ncommand = ["x", "{file}"]', 'command: has "{file}", but an action reads all paths'),
        ('paths = ["/a"]\ncommand = ["x"]\non = "apply"', 'on: "apply" is not known, did you mean applied?'),
        ('paths = ["/a"]\ncommand = ["x"]\nmembers = ["c"]', "members[0]: no member c; there are: a, b"),
        ('paths = ["/a"]\ncommand = ["x"]\nsettle = "soon"', 'settle: "soon" is no duration'),
        ('paths = ["/a"]\ncommand = ["x"]\ntimeout = "0"', 'timeout: "0" is no duration'),
        ('paths = ["/a"]\ncommand = ["x"]\nevery = "1s"', "every: unknown key"),
    ],
)
def test_a_mistake_in_an_action_is_named(lines: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        reader.parse(f"{VOLUME}{lines}\n")
    assert re.search(rf"volumes\.v\.actions\[0\]\.{re.escape(complaint)}", str(refused.value))


def test_an_action_of_one_member_goes_with_it_and_runs_nowhere_else() -> None:
    text = VOLUME + 'paths = "/x"\ncommand = ["x"]\nmembers = ["b"]\n'
    more = '[[volumes.v.actions]]\npaths = "/y"\ncommand = ["y"]\nmembers = ["a", "b"]\n'
    left = settings.without_member(reader.parse(text + more), "b").volume("v").actions
    assert left == (ActionSettings(("/y",), ("y",), members=("a",)),)
