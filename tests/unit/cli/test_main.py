"""The entry: what it imports, what it says, and the exit codes."""

import importlib
import os
import subprocess
import sys

import pytest

from spotbatch import __version__
from spotbatch.cli.commands import COMMANDS
from spotbatch.cli.main import main

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
    from spotbatch.cli.commands import Entry

    assert isinstance(entry, Entry)
    monkeypatch.delenv("SPOTBATCH_LOCAL", raising=False)
    importlib.import_module(entry.module)
    assert main([entry.name, "--help"]) == 0
    said = capsys.readouterr().out
    if entry.is_local_too and "COMMAND [ARGS]" not in said:
        assert "--local" in said
        assert "--profile" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sumbit"], "no such command 'sumbit'. Did you mean 'submit'? (`spotbatch --help` tells more)"),
        (["submit", "--arry", "3"], "there is no option --arry: did you mean --after or --array?"),
        (["submit", "--array", "x", "--", "true"], "--array is a whole number, not 'x' (`spotbatch submit --help`"),
        (["logs", "j", "--tail=0"], "--tail is at least 1, not '0' (`spotbatch logs --help`"),
        (["list", "--status", "RUNNIG"], "runnable, starting, running, succeeded or failed, not 'RUNNIG'"),
        (["completion", "tcsh"], "SHELL is bash, zsh or fish, not 'tcsh'"),
        (["completion"], "missing argument 'shell'. Choose from: bash, zsh, fish"),
        (["show"], "missing argument 'JOB' (`spotbatch show --help` tells more)"),
        (["show", "a", "b"], "got unexpected extra argument(s) (b)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_line_that_cannot_be_read_is_told_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPOTBATCH_LOCAL", raising=False)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_bug_of_ours_is_one_line_and_exit_code_70(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> object:
        raise KeyError("hosts")

    monkeypatch.delenv("SPOTBATCH_VERBOSE", raising=False)
    monkeypatch.setattr("spotbatch.runs.parse.memory_mib", broken)
    arguments = ["submit", "--memory", "2G", "--", "true"]
    assert main(arguments) == 70
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: KeyError: 'hosts'"
    assert "please report it" in said[1]
    assert len(said) == 2
    monkeypatch.setenv("SPOTBATCH_VERBOSE", "1")
    assert main(arguments) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_group_without_a_command_shows_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local"]) == 2
    said = capsys.readouterr().err
    assert "interrupt" in said
    assert "..." not in said.replace("[ARGS]...", "")


@pytest.mark.parametrize("command", [["list"], ["show", "x"], ["logs", "x"], ["doctor", "x"], ["cost", "x"]])
def test_a_read_loads_no_validation_library_no_transfers_and_no_region(command: list[str]) -> None:
    code = (
        "import os, sys; os.environ |= dict(AWS_ENDPOINT_URL='http://127.0.0.1:9', AWS_REGION='us-east-1', "
        "AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b'); from spotbatch.cli.main import main; "
        "code = main([*sys.argv[1:], '--queue', 'q', '--json']); print(code, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True, timeout=60
    )
    code_of_it, *modules = done.stdout.split()
    assert (code_of_it, "does not answer" in done.stderr) == ("4", True), done.stderr
    heavy = {"pydantic", "boto3", "s3transfer", "spotbatch.batch.scheduler", "spotbatch.local.contract", "numpy"}
    assert not heavy & set(modules)
