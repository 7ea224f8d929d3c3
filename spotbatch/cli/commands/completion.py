"""`spotbatch completion`: the script that lets a shell complete our commands and options."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from spotbatch.cli.output import text

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
COMPLETE_VARIABLE: Final = "_SPOTBATCH_COMPLETE"


class Shell(StrEnum):
    """The supported shells."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> None:
    """The shell's completion script.

    bash: eval "$(spotbatch completion bash)" in ~/.bashrc; zsh: the same with zsh in ~/.zshrc, after compinit;
    fish: spotbatch completion fish | source
    """
    import typer.completion as shells

    make = shells.get_completion_script  # type: ignore[attr-defined]  # Typer re-exports it without saying so
    text.say(make(prog_name="spotbatch", complete_var=COMPLETE_VARIABLE, shell=shell.value))
