"""The console's entry: the commands, each imported when it is run, and errors turned into exit codes.

Exit codes: 0 done, 1 some of the work FAILED, 2 invalid input, 3 not found, 4 AWS or the local region does not answer,
70 a bug of ours, 130 interrupted by Ctrl-C.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from spotbatch import __version__
from spotbatch.batch.errors import BrokenInvariant, NotFound, SpotbatchError, Unavailable
from spotbatch.cli.commands import BY_NAME, COMMANDS, Entry
from spotbatch.cli.plain_values import use_plain_values
from spotbatch.runs import endpoint

EXIT_INTERRUPTED_BY_USER: Final = 130
_PANEL: Final = "Where and how"


class _LazyGroup(TyperGroup):
    """Lists the commands from their table; a command's module is imported when the command is run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for entry in COMMANDS:
            self.commands[entry.name] = TyperCommand(name=entry.name, help=entry.help, rich_markup_mode=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, stub, rest = super().resolve_command(ctx, args)
        entry = BY_NAME.get(name or "")
        if entry is None:
            return name, stub, rest
        command = load(entry)
        if entry.is_local_too and not ctx.resilient_parsing and "--help" not in rest and endpoint.wants_local():
            endpoint.use_local()
        return name, command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the face that Typer calls
        """List the commands under their headings, in the table's order."""
        width = max(len(entry.name) for entry in COMMANDS)
        for section in dict.fromkeys(entry.section for entry in COMMANDS):
            rows = [(entry.name.ljust(width), entry.help) for entry in COMMANDS if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)


def load(entry: Entry) -> Any:
    """The command itself, with the options that every command takes. Raises NotFound if its module is missing."""
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as error:
        raise NotFound(_missing(entry, error)) from error
    command: Any = typer.main.get_command(module.app)
    command.name = entry.name
    common: Any = typer.main.get_command(_common_app if entry.is_local_too else _verbose_app)
    _add_options(command, common.params)
    return command


def _add_options(command: Any, options: Sequence[Any]) -> None:
    """Add the common options to the command, or to each command of a group."""
    if isinstance(command, TyperGroup):
        for each in command.commands.values():
            each.short_help = (each.help or "").partition("\n")[0]  # whole: typer would cut it at 45 letters
            _add_options(each, options)
        return
    taken = {name for parameter in command.params for name in parameter.opts}
    command.params += [option for option in options if not taken & set(option.opts)]


def _missing(entry: Entry, error: ModuleNotFoundError) -> str:
    if error.name == entry.module:
        return f"`spotbatch {entry.name}` is not part of this version ({__version__})"
    extra = "aws" if entry.name in ("deploy", "cleanup") else "all"
    return (
        f"`spotbatch {entry.name}` needs the library {error.name}, which is not installed: "
        f"pip install 'spotbatch[{extra}]'"
    )


# ---- options that every command takes: their callbacks act, and no command sees them ----


def _on_local(value: bool) -> None:
    if value:
        endpoint.use_local()


def _on_local_of_group(value: bool) -> None:
    if value:
        os.environ[endpoint.LOCAL_VARIABLE] = "1"  # decided once the command is known: `local up` must not require it


def _on_profile(value: str | None) -> None:
    if value:
        endpoint.use_profile(value)


def _on_region(value: str | None) -> None:
    if value:
        endpoint.use_region(value)


def _on_verbose(value: bool) -> None:
    if value:
        os.environ[_VERBOSE] = "1"


def _on_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"spotbatch {__version__}\n")
        raise typer.Exit


_COMPLETE: Final = "_SPOTBATCH_COMPLETE"  # a shell requests completions
_VERBOSE: Final = "SPOTBATCH_VERBOSE"
_LOCAL_HELP: Final = "Work in the local region (or set SPOTBATCH_LOCAL=1)."
_VERBOSE_HELP: Final = "On an error, show where it comes from."
_Profile = Annotated[
    str | None, typer.Option("--profile", callback=_on_profile, expose_value=False, help="A profile of the AWS CLI.")
]
_Region = Annotated[
    str | None, typer.Option("--region", callback=_on_region, expose_value=False, help="The AWS region.")
]
_Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=_on_verbose, expose_value=False, help=_VERBOSE_HELP)
]
_Local = Annotated[bool, typer.Option("--local", callback=_on_local, expose_value=False, help=_LOCAL_HELP)]
_LocalOfGroup = Annotated[
    bool, typer.Option("--local", callback=_on_local_of_group, expose_value=False, help=_LOCAL_HELP)
]
_Version = Annotated[
    bool,
    typer.Option("--version", callback=_on_version, expose_value=False, is_eager=True, help="Show the version."),
]

_common_app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_verbose_app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@_common_app.command()
def _common(local: _Local = False, profile: _Profile = None, region: _Region = None, verbose: _Verbose = False) -> None:
    """Carries the options that every command on jobs takes."""


@_verbose_app.command()
def _only_verbose(verbose: _Verbose = False) -> None:
    """Carries the option of the commands that work in one place only."""


app: Final = typer.Typer(
    cls=_LazyGroup,
    name="spotbatch",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback(epilog="Exit codes: 0 done, 1 work FAILED, 2 wrong input, 3 not there, 4 no answer, 130 interrupted.")
def _root(
    local: _LocalOfGroup = False,
    profile: _Profile = None,
    region: _Region = None,
    verbose: _Verbose = False,
    version: _Version = False,
) -> None:
    """Container batch work on AWS Batch and EC2 Spot at the lowest cost, without babysitting it."""


def main(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    use_plain_values()
    if _COMPLETE in os.environ:
        import typer.completion as shells

        shells.completion_init()  # type: ignore[attr-defined]  # Typer re-exports it without saying so
    try:
        return app(list(arguments), prog_name="spotbatch", standalone_mode=False) or 0
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except SpotbatchError as error:
        return _failed(error)
    except typer.TyperException as error:
        return _misused(error, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED_BY_USER
    except BrokenPipeError:
        sys.stdout = cast("Any", open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - the reader has gone
        return 1
    except OSError as error:  # a full disk, a folder without rights
        return _failed(Unavailable(f"{error}; `-v` shows where"), error)
    except Exception as error:  # noqa: BLE001 - the last door: whatever comes here is a bug of ours, told in one line
        return _failed(BrokenInvariant(f"{type(error).__name__}: {error}"), error)


def _misused(error: typer.TyperException, arguments: Sequence[str]) -> int:
    """Report an invalid command line; a group without a command shows its help."""
    from spotbatch.cli.output.text import hint, styled
    from spotbatch.cli.usage_error import in_one_line

    if type(error).__name__ == "NoArgsIsHelpError":
        hint(error.format_message())
    else:
        hint(f"{styled('error:', 'red', sys.stderr)} {in_one_line(error, arguments)}")
    return error.exit_code


def _failed(error: SpotbatchError, cause: Exception | None = None) -> int:
    """Say what went wrong; show the traceback only if requested."""
    import traceback

    from spotbatch.cli.output.text import hint, styled

    text = str(error)
    if os.environ.get(_VERBOSE):
        hint("".join(traceback.format_exception(cause or error)).rstrip())
    if text:
        hint(f"{styled('error:', 'red', sys.stderr)} {text}")
    if isinstance(error, BrokenInvariant):
        hint("this is a bug of spotbatch: please report it with what `-v` shows")
    return error.exit_code


def run() -> None:
    """What the `spotbatch` program calls."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
