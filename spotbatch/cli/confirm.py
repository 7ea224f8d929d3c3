"""Questions that a command asks before changing something, and the answer if nobody can be asked."""

import sys

import typer

from spotbatch.batch.errors import InvalidInput


def agreed(question: str, *, yes: bool) -> bool:
    """The user's answer; `yes` answers for them. Raises InvalidInput if nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Say so with --yes, since nobody can be asked here")
    return typer.confirm(question, err=True)
