"""Options and arguments that several commands share."""

from typing import Annotated, Final

import typer

JOB_HELP: Final = (
    "A job's id or its first digits, a child's (id:index), a name (the newest run of that name, whole), or a run's id."
)
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help=JOB_HELP)]
StackOption = Annotated[
    str | None, typer.Option("--stack", help="The stack to ask for queue and definition (default: the only one).")
]
QueueOption = Annotated[str | None, typer.Option("--queue", help="A job queue (default: the stack's).")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
