"""Shell completion as each shell itself does it, from the script that `spotbatch completion` prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = """
source <(spotbatch completion bash)
complete -p spotbatch
try() { COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _spotbatch_completion "$1"; echo "${COMPREPLY[*]}"; }
try spotbatch wa
try spotbatch submit --me
try spotbatch local ''
try spotbatch completion ''
"""
ZSH = """
autoload -U compinit
compinit -u -d "$HOME/.zcompdump"
eval "$(spotbatch completion zsh)"
print -r -- "$_comps[spotbatch]"
_arguments() { print -r -- "$@" }
_files() { print -r -- files }
try() { words=("$@"); CURRENT=$#; _spotbatch_completion }
try spotbatch wa
try spotbatch submit --me
"""
FISH = """
spotbatch completion fish | source
complete -C 'spotbatch wa'
complete -C 'spotbatch submit --me'
"""


def said_by(shell: str, script: str, home: Path) -> list[str]:
    """What a shell without anybody's settings prints."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    options = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {"PATH": path, "HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8"}
    done = subprocess.run(
        [program, *options, "-c", script], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash(tmp_path: Path) -> None:
    registered, commands, options, subcommands, shells = said_by("bash", BASH, tmp_path)
    assert registered.endswith("_spotbatch_completion spotbatch")
    assert commands == "watch"
    assert options == "--memory"
    assert {"up", "down", "load"} <= set(subcommands.split())
    assert shells.split() == ["bash", "zsh", "fish"]


def test_zsh(tmp_path: Path) -> None:
    registered, *offered = said_by("zsh", ZSH, tmp_path)
    assert registered == "_spotbatch_completion"
    assert "watch" in offered[0]
    assert "--memory" in offered[-1]


def test_fish(tmp_path: Path) -> None:
    offered = [line.partition("\t")[0] for line in said_by("fish", FISH, tmp_path)]
    assert offered == ["watch", "--memory"]
