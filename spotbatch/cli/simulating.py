"""What both kinds of `spotbatch simulate` need: its traces, its lists of names, its bar."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spotbatch.batch.errors import InvalidInput

if TYPE_CHECKING:
    from spotbatch.simulate.trace import Trace


def traces_of(path: Path, polarity: str | None) -> "list[Trace]":
    from spotbatch.simulate.trace import Polarity, read_traces

    try:
        told = Polarity(polarity) if polarity else None
    except ValueError as error:
        raise InvalidInput(f"--polarity is available or reclaimed, not {polarity!r}") from error
    found = read_traces(path, told)
    if not any(any(each.available) for each in found):
        raise InvalidInput(f"{path} has no capacity at any time, so nothing would run on Spot: is its polarity right?")
    return found


def names(written: str) -> Iterator[str]:
    return (name.strip() for name in written.split(",") if name.strip())


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's standard error; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("simulating", total=total)
        yield lambda done: bar.update(line, completed=done)
