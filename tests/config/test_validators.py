"""What csfs.toml may say of validators, and which ones a profile brings along."""

import re

import pytest

from csfs.config import profiles, reader
from csfs.config.commands import FILE_PLACEHOLDER, ValidatorSettings
from csfs.core.groups import compiled_any
from csfs.errors import ConfigError

VOLUME = 'cluster = "web"\n[members.a]\n[volumes.v]\npath = "/etc"\n'


def test_validators_are_read_in_order_and_those_of_the_profile_come_last() -> None:
    text = (
        VOLUME + 'profile = "etc"\n[[volumes.v.validators]]\npaths = "/nft"\ncommand = ["nft", "-c", "-f", "{file}"]\n'
    )
    first, *others = reader.parse(text).validators("v")
    assert first == ValidatorSettings(("/nft",), ("nft", "-c", "-f", "{file}"))
    assert [one.command[0] for one in others] == ["visudo", "sshd"]
    assert all(one.optional for one in others)
    assert reader.parse(VOLUME).validators("v") == ()


def test_what_the_profiles_ask_about_is_what_it_is_for() -> None:
    for validators in profiles.VALIDATORS.values():
        for paths, command in validators:
            compiled_any(paths)
            assert command.count(FILE_PLACEHOLDER) == 1
    sudoers = compiled_any(profiles.VALIDATORS["etc"][0][0])
    found = [bool(sudoers.fullmatch(path)) for path in (b"sudoers", b"sudoers.d/x", b"sudoers.bak", b"x/sudoers")]
    assert found == [True, True, False, False]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('command = ["x", "{file}"]', "paths: is missing; write the patterns"),
        ('paths = ["/a"]', "command: is missing; it must be a list of strings"),
        ('paths = ["/a"]\ncommand = "x {file}"', "command: must be a list of strings"),
        ('paths = ["/a"]\ncommand = []', "command: must be a list of strings, none of them empty"),
        ('paths = ["/a"]\ncommand = ["x", 3]', "command: must be a list of strings, none of them empty"),
        ('paths = ["/a"]\ncommand = ["x"]', 'command: has no "{file}"'),
        ('paths = ["/a"]\ncommand = ["{file}"]', 'command: has no "{file}"'),
        (
            'paths = ["/a"]\ncommand = ["bin/x", "{file}"]',
            'command: "bin/x" must be a bare name, found in the usual directories',
        ),
        ('paths = ["a/b"]\ncommand = ["x", "{file}"]', 'paths[0]: pattern "a/b" has a slash but no start'),
        ('paths = ["/a"]\ncommand = ["x", "{file}"]\ntimeout = 3', "timeout: unknown key"),
    ],
)
def test_a_mistake_in_a_validator_is_named(lines: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        reader.parse(f"{VOLUME}[[volumes.v.validators]]\n{lines}\n")
    assert re.search(rf"volumes\.v\.validators\[0\]\.{re.escape(complaint)}", str(refused.value))


def test_merge_comes_first_in_a_policy() -> None:
    policy = 'policy = ["younger", "merge"]'
    with pytest.raises(ConfigError, match=r'groups\[0\].policy: "merge" must come first'):
        reader.parse(f"{VOLUME}[[volumes.v.groups]]\n{policy}\n")
