"""Commands that the documents name and no test runs (in prose, for AWS, for a pipeline) are ones that there are."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from spotbatch.cli.commands import BY_NAME
from spotbatch.cli.main import load
from tests.root import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SPOKEN = re.compile(r"`(?:spotbatch|\./(?=deploy\.sh|cleanup\.sh))([^`\n]*)`")
WRITTEN = re.compile(r"^(?:\S+=\S+ |- run: )*(?:spotbatch|\./(?=deploy\.sh|cleanup\.sh))([^\n]*)$", re.MULTILINE)
FENCED = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SCRIPTS = {"deploy.sh": "deploy", "cleanup.sh": "cleanup"}
GROUP_OPTIONS = frozenset(("--local", "--help", "-h", "--version", "-v"))


def named(page: Path) -> list[str]:
    """What stands behind `spotbatch`, or the name of a script with what stands behind it."""
    text = page.read_text(encoding="utf-8")
    blocks = [line for block in FENCED.findall(text) for line in WRITTEN.findall(block.replace("\\\n", " "))]
    return [one.strip() for one in (*SPOKEN.findall(FENCED.sub("", text)), *blocks) if one.strip() and one[0] in " dc"]


def words_of(command: str) -> list[str]:
    """The words before the user's own command, a pipe, a comment; none where it is no whole command."""
    cut = re.split(r" -- | \|\|? | && |;|>|&", command, maxsplit=1)[0]
    try:
        return shlex.split(cut, comments=True)
    except ValueError:
        return []


def problems(command: str) -> list[str]:
    words = words_of(command)
    if words and words[0] in SCRIPTS:
        words[0] = SCRIPTS[words[0]]
    while words and words[0] in GROUP_OPTIONS:
        words.pop(0)
    if not words or not re.fullmatch(r"[a-z]+", words[0]):
        return []  # an ellipsis, or a placeholder for any command
    if words[0] not in BY_NAME:
        return [f"there is no command {words[0]}"]
    found = load(BY_NAME[words[0]])
    if hasattr(found, "commands"):
        if len(words) < 2 or not re.fullmatch(r"[a-z]+", words[1]):
            return []
        if words[1] not in found.commands:
            return [f"there is no command {words[0]} {words[1]}"]
        found = found.commands[words[1]]
    if found.context_settings.get("ignore_unknown_options"):
        return []  # its options belong to somebody else, who refuses those that there are not
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [f"{words[0]} has no option {name}" for name in given if name not in known | {"--help", "-h"}]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_document_names_is_there(page: Path) -> None:
    assert [f"`{each}`: {problem}" for each in named(page) for problem in problems(each)] == []


def test_most_documents_name_commands_and_a_wrong_one_is_found() -> None:
    assert sum(len(named(page)) for page in PAGES) > 100
    assert problems("submit --arry 3 -- x --unknown") == ["submit has no option --arry"]
    assert problems("deploy.sh --sett x") == ["deploy has no option --sett"]
    assert problems("local upp") == ["there is no command local upp"]
    assert isinstance(load(BY_NAME["local"]), typer.core.TyperGroup)
