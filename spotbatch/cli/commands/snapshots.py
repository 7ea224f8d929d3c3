"""`spotbatch snapshots`: what this machine needs to dump and restore a command (docs/snapshots.md)."""

from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.batch.errors import InvalidInput, Unavailable
from spotbatch.cli.options import JsonOption
from spotbatch.cli.output import json, text
from spotbatch.snapshots import check as host_check
from spotbatch.snapshots.install import VERSION, NotInstalled, criu_folder
from spotbatch.snapshots.install import install as install_criu

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
FolderOption = Annotated[
    Path | None, typer.Option(help="CRIU's folder (default: SPOTBATCH_CRIU, or below ~/.local/share/spotbatch).")
]


@app.command(epilog="Example: spotbatch snapshots install")
def install(folder: FolderOption = None) -> None:
    """Fetch CRIU from Debian into a folder of its own: pinned by version and checksum, nothing into the system.

    CRIU is licensed under the GPL, version 2; it is run as a separate program.
    """
    where = folder or criu_folder()
    if where.exists():
        raise InvalidInput(f"{where} exists already: `spotbatch snapshots check` tries it")
    try:
        version = install_criu(where.absolute(), text.hint)
    except (NotInstalled, OSError) as problem:
        raise Unavailable(f"CRIU {VERSION} was not installed: {problem}") from problem
    text.say(str(where))
    text.hint(f"criu {version} is installed; a region started by root on this machine can use it")


@app.command(epilog="Example: spotbatch snapshots check")
def check(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """Say whether this machine can dump and restore processes, and if not, why. Exit code 4 if it cannot."""
    where = folder or criu_folder()
    why = host_check.why_not(where)
    if as_json:
        json.write({"is_possible": why is None, "why_not": why, "folder": str(where)})
        raise typer.Exit(0 if why is None else Unavailable.exit_code)
    if why is not None:
        raise Unavailable(f"no snapshots on this machine: {why}")
    text.say(f"snapshots can be taken on this machine, with CRIU from {where}")
