"""What deploy, cleanup and image have in common: their options, where they act, and Ctrl-C."""

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from spotbatch.cli.output import text
from spotbatch.runs import endpoint

_HELP_STACK = "The stack's name; several stacks can live side by side."

ProfileOption = Annotated[str | None, typer.Option("--profile", help="A profile of the AWS CLI.")]
RegionOption = Annotated[str | None, typer.Option("--region", help="The AWS region.")]
StackNameOption = Annotated[str, typer.Option("--stack-name", help=_HELP_STACK)]


def point_at(profile: str | None, region: str | None) -> None:
    """Make the choice this process's AWS settings, and those of the programs that it starts."""
    if profile:
        endpoint.use_profile(profile)
    if region:
        endpoint.use_region(region)


@contextlib.contextmanager
def interruptible(again: str) -> Iterator[None]:
    """Within it, Ctrl-C says how to go on; what has been begun on AWS ends by itself."""
    try:
        yield
    except KeyboardInterrupt:
        text.hint(f"\ninterrupted. Nothing is lost: {again} goes on from there")
        raise
