"""The samples in etc/ are what csfs reads."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from csfs.config import reader
from csfs.config.commands import ActionSettings
from csfs.config.settings import GroupSettings, HostSettings

ETC = Path(__file__).parent.parent.parent / "etc"


def test_the_sample_configuration_is_valid_and_has_every_key_of_a_group() -> None:
    text = (ETC / "csfs.toml").read_text()
    settings = reader.parse(text)
    assert settings.member_names == ("alpha", "beta", "gamma")
    assert [
        field.name for field in dataclasses.fields(GroupSettings) if not re.search(rf"^{field.name}[ .]", text, re.M)
    ] == []


def test_the_sample_has_every_key_of_a_validator() -> None:
    (validator,) = reader.parse((ETC / "csfs.toml").read_text()).volume("etc").validators
    assert all((validator.paths, validator.command))


def test_the_sample_has_every_key_of_an_action() -> None:
    (action,) = reader.parse((ETC / "csfs.toml").read_text()).volume("etc").actions
    assert action == ActionSettings(("/nginx",), ("systemctl", "reload", "nginx"), members=("alpha", "beta"))
    text = (ETC / "csfs.toml").read_text().partition(".actions]]")[2]
    assert all(re.search(rf"^{field.name} = ", text, re.M) for field in dataclasses.fields(ActionSettings))


def test_the_sample_of_this_hosts_file_is_valid() -> None:
    assert reader.parse_host((ETC / "member.toml").read_text()) == HostSettings(
        "alpha", send_rates=(("beta", "10M"), ("default", "off"))
    )


@pytest.mark.skipif(not shutil.which("man"), reason="needs man")
@pytest.mark.parametrize("page", sorted((ETC / "man").iterdir()), ids=lambda page: page.name)
def test_a_man_page_renders_without_a_warning(page: Path) -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_completion_answers(tmp_path: Path) -> None:
    csfs = tmp_path / "csfs"
    csfs.write_text('#!/bin/sh\n[ "$COMP_WORDS" = "csfs vo" ] && [ "$COMP_CWORD" = 1 ] && echo plain,volume\n')
    csfs.chmod(0o755)
    script = f"PATH={tmp_path}:$PATH; . {ETC}/bash-completion/csfs; COMP_WORDS=(csfs vo) COMP_CWORD=1; _csfs; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "volume\n"
