"""Where deploy, cleanup and image act, and how their messages name the same place in a command to type next."""

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from spotbatch.aws import stack_outputs
from spotbatch.batch.errors import InvalidInput
from spotbatch.cli import where
from spotbatch.cli.output import text

_STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
_HELP_STACK = "The stack's name; several stacks can live side by side."

ProfileOption = Annotated[str | None, typer.Option("--profile", help="A profile of the AWS CLI.")]
RegionOption = Annotated[str | None, typer.Option("--region", help="The AWS region.")]
StackNameOption = Annotated[str, typer.Option("--stack-name", help=_HELP_STACK)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A stack's name, and the profile and region that were given on the command line."""

    stack: str
    profile: str | None = None
    region: str | None = None

    @property
    def aws(self) -> str:
        """Options for the AWS CLI and for spotbatch, with a space before each; "" where nothing was given."""
        return _options(profile=self.profile, region=self.region)

    def script(self, name: str, *more: str) -> str:
        """The command that runs a script on this very stack."""
        stack = self.stack if self.stack != stack_outputs.DEFAULT_STACK else None
        return " ".join([f"./{name}{_options(profile=self.profile, region=self.region, stack_name=stack)}", *more])


def _options(**given: str | None) -> str:
    parts = (f" --{name.replace('_', '-')} {shlex.quote(value)}" for name, value in given.items() if value)
    return "".join(parts)


def check_stack_name(name: str) -> None:
    """Raises InvalidInput for a name that CloudFormation does not give to a stack."""
    if not _STACK_NAME.fullmatch(name):
        raise InvalidInput(
            f"--stack-name {name!r} is no name of a stack: it begins with a letter, and goes on with letters, digits "
            f"and hyphens, 128 characters at most, such as My-Batch"
        )


def point_at(profile: str | None, region: str | None) -> None:
    """Make the choice this process's AWS settings, and those of the programs that it starts."""
    if profile:
        where.use_profile(profile)
    if region:
        where.use_region(region)


@contextlib.contextmanager
def interruptible(again: str) -> Iterator[None]:
    """Within it, Ctrl-C says how to go on; what has been begun on AWS ends by itself."""
    try:
        yield
    except KeyboardInterrupt:
        text.hint(f"\ninterrupted. Nothing is lost: {again} goes on from there")
        raise
