"""What is written about csfs is what it has: manual pages, samples and texts against the commands, options and keys that there are."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from csfs.cli import main
from csfs.config import reader, tables
from csfs.errors import ExitCode
from csfs.mount import options

TOP = Path(__file__).parent.parent.parent
MAN = TOP / "etc/man"
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
CALL = re.compile(r"csfs ((?:--home \S+ )?[a-z][a-z-]*)(?: ([a-z]+))?")


def leaves(command: click.Command | None = None, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Give every command that does something, by its whole name."""
    if command is None:
        command = main.cli
    if not isinstance(command, click.Group):
        yield " ".join(names), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*names, name))


COMMANDS = dict(leaves())


def options_of(command: click.Command) -> list[set[str]]:
    """Return how each option of a command can be written."""
    shown = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    return [{*option.opts, *option.secondary_opts} for option in shown]


def plain(text: str) -> str:
    """Return the text of a manual page without orders to the typesetter."""
    text = re.sub(r"\\f[A-Z]", "", text).replace("\\-", "-").replace("\\(dq", '"').replace('"', "")
    return re.sub(r"^\.[A-Z]+ ", "", text, flags=re.M)


def entries(page: str, section: str) -> list[tuple[str, str]]:
    """Return heading and text of each paragraph with a heading in one section."""
    whole = (MAN / page).read_text()
    (body,) = re.findall(rf"^\.SH {section}\n(.*?)(?=^\.SH |\Z)", whole, re.M | re.S)
    found = [plain(part).strip() for part in body.split(".TP\n")[1:]]
    return [(text.partition("\n")[0], text) for text in found]


def of_command(name: str) -> str:
    """Return what csfs(8) says of one command."""
    found = [text for heading, text in entries("csfs.8", "COMMANDS") if re.match(rf"{name}(?![\w-])", heading)]
    assert found, f"csfs(8) does not have csfs {name}"
    return "\n".join(found)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_manual_has_every_option_of_a_command_and_no_other(name: str) -> None:
    told = set(OPTION.findall(of_command(name)))
    known = options_of(COMMANDS[name])
    assert [sorted(forms) for forms in known if not forms & told] == [], "csfs(8) lacks them"
    others = {form for command in COMMANDS.values() for forms in options_of(command) for form in forms}
    assert told - set().union(*known) - others == set(), "csfs(8) has them, and no command"
    heading = next(h for h, _ in entries("csfs.8", "COMMANDS") if re.match(rf"{name}(?![\w-])", h))
    assert set(OPTION.findall(heading)) <= set().union(*known), (
        f"csfs(8) gives them to csfs {name}, which has none such"
    )


def test_the_manual_has_no_command_that_there_is_not() -> None:
    headings = [heading for heading, _ in entries("csfs.8", "COMMANDS")]
    assert [heading for heading in headings if not any(heading.startswith(name) for name in COMMANDS)] == []


def test_the_manual_has_every_exit_code() -> None:
    (body,) = re.findall(r"^\.SH EXIT STATUS\n\.nf\n(.*?)\.fi", (MAN / "csfs.8").read_text(), re.M | re.S)
    assert {int(line.split()[0]) for line in body.splitlines()} == {*map(int, ExitCode), 130}


def test_an_exit_code_of_its_own_is_in_the_help_and_in_the_manual() -> None:
    for name, command in COMMANDS.items():
        assert ("Exit code 1" in (command.help or "")) <= bool(re.search(r"Exit (code|status) 1", of_command(name))), (
            name
        )


def test_completion_proposes_what_the_help_has() -> None:
    csfs = Path(sys.executable).with_name("csfs")
    complete = (
        f'. {TOP}/etc/bash-completion/csfs; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _csfs; echo "${{COMPREPLY[@]}}"'
    )
    environment = os.environ | {"PATH": f"{csfs.parent}:{os.environ['PATH']}"}
    for name in ("resolve", "member remove"):
        line = ["bash", "-c", complete, "bash", "csfs", *name.split(), "--"]
        done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
        expected = {"--help"}.union(*options_of(COMMANDS[name]))
        assert set(done.stdout.split()) == {form for form in expected if form.startswith("--")}


# ------------------------------------------------------------------------------------------------------------------- keys


def keys_read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return every key that is asked for while the samples are read, which have one table of each kind."""
    found: set[str] = set()
    finish = tables.Table.finish

    def noted(table: tables.Table) -> None:
        found.update(table._asked)
        finish(table)

    monkeypatch.setattr(tables.Table, "finish", noted)
    reader.parse((TOP / "etc/csfs.toml").read_text())
    reader.parse_host((TOP / "etc/member.toml").read_text())
    return found - {"members", "volumes", "groups", "validators", "actions", "log"} | {"members"}


def test_the_manual_has_every_key_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    headings = [heading for heading, _ in entries("csfs.toml.5", "CSFS.TOML") + entries("csfs.toml.5", "MEMBER.TOML")]
    told = {heading.removeprefix("log.") for heading in headings if re.fullmatch(r"[a-z_.]+", heading)}
    # brake has two keys of its own, in the text below it.
    assert told == keys_read(monkeypatch) - {"share", "paths"} | {"paths"}


def test_the_samples_have_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (TOP / "etc/csfs.toml").read_text() + (TOP / "etc/member.toml").read_text()
    assert [key for key in keys_read(monkeypatch) if not re.search(rf"^([a-z]+\.)?{key}[ .]", text, re.M)] == []


def test_the_manual_has_every_mount_option() -> None:
    text = plain((MAN / "mount.csfs.8").read_text())
    known = {*options._CHANGES, *options._LASTING, *options._CONTEXTS, *options._FOR_OTHERS}
    words = set(re.findall(r"[\w-]+", text))
    opposites = {"loud": "silent"} | {f"no{word}": word for word in words}
    assert sorted(name for name in known if name not in words and opposites.get(name) not in words) == []


# ------------------------------------------------------------------------------------------------------------------ texts

texts = [*TOP.glob("csfs/**/*.py"), TOP / "README.md", TOP / "CHANGELOG.md", *TOP.glob("docs/*.md")]


def calls_in(path: Path) -> Iterator[str]:
    """Give each call of csfs that stands in backticks, or on a line of an example."""
    text = path.read_text()
    yield from re.findall(r"`(csfs [^`\n]+)`", text)
    for example in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
        yield from re.findall(r"^(csfs [^#\n]+)", example, re.M)


@pytest.mark.parametrize("path", texts, ids=lambda path: str(path.relative_to(TOP)))
def test_a_call_that_is_written_down_can_be_made(path: Path) -> None:
    for call in calls_in(path):
        words = [word.strip("[]") for word in call.split()[1:]]
        if words[0] in ("--home", "X", "COMMAND"):
            continue
        assert words[0] in {name.split()[0] for name in COMMANDS}, call
        whole = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
        if whole in COMMANDS:
            known = set().union({"--help"}, *options_of(COMMANDS[whole]))
            assert set(OPTION.findall(" ".join(words))) <= known, call
