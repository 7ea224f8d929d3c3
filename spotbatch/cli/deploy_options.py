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
    """Apply the choice to this process's AWS settings and those of the programs it starts."""
    if profile:
        endpoint.use_profile(profile)
    if region:
        endpoint.use_region(region)


@contextlib.contextmanager
def interruptible(again: str) -> Iterator[None]:
    """Within this context, Ctrl-C says how to continue; operations started on AWS complete on their own."""
    try:
        yield
    except KeyboardInterrupt:
        text.hint(f"\ninterrupted. Nothing is lost: {again} goes on from there")
        raise
