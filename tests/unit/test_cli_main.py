"""The entry: what it imports, what it says, and the exit codes."""

import importlib
import os
import subprocess
import sys

import pytest

from spotbatch import __version__
from spotbatch.cli.main import main
from spotbatch.cli.table import COMMANDS

HEAVY = ("boto3", "botocore", "moto", "aws_cdk", "numpy", "rich", "pydantic", "spotbatch.aws", "spotbatch.local")


def imported_by(*arguments: str) -> tuple[set[str], str]:
    code = (
        "import sys; from spotbatch.cli.main import main; main(sys.argv[1:]); sys.stderr.write(' '.join(sys.modules))"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, env=environ, timeout=60
    )
    return set(done.stderr.split()), done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    modules, said = imported_by(*arguments)
    assert said
    assert not modules & set(HEAVY)


def test_help_lists_every_command_under_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for entry in COMMANDS:
        assert f"  {entry.name} " in said
        assert f"{entry.section}:" in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spotbatch {__version__}\n"


def test_a_wrong_command_is_exit_code_2_and_names_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sumbit"]) == 2
    assert "'submit'" in capsys.readouterr().err


def test_an_error_is_one_line_with_the_fix(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPOTBATCH_VERBOSE", raising=False)
    assert main(["submit", "--memory", "lots", "--", "true"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: memory is written as 2048 (MiB), 512M or 2G, not 'lots'\n"


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_has_help_and_the_common_options(
    entry: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from spotbatch.cli.table import Entry

    assert isinstance(entry, Entry)
    monkeypatch.delenv("SPOTBATCH_LOCAL", raising=False)
    importlib.import_module(entry.module)
    assert main([entry.name, "--help"]) == 0
    said = capsys.readouterr().out
    if entry.is_local_too and "COMMAND [ARGS]" not in said:
        assert "--local" in said
        assert "--profile" in said
