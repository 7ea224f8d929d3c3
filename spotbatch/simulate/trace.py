"""Traces of Spot availability from files; `policy.trace` defines their format."""

from pathlib import Path

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.policy.trace import MOST_BYTES, Polarity, Trace, traces_in

__all__ = ["Polarity", "Trace", "read_traces", "usable_traces"]


def read_traces(path: Path, polarity: Polarity | None = None, threshold: int | None = None) -> list[Trace]:
    """The traces in a file, as read by `policy.trace.traces_in`. Raises NotFound and InvalidInput."""
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise NotFound(f"no trace can be read from {path}: {error.strerror}") from error
    if size > MOST_BYTES:
        raise InvalidInput(f"{path} is larger than {MOST_BYTES >> 20} MiB; split it by zone")
    return traces_in(path, raw, polarity, threshold)


def usable_traces(path: Path, polarity: str | None, threshold: int | None = None) -> list[Trace]:
    """The traces in a file, for a simulation: at least one must have capacity at some time.

    `polarity` is `available`, `reclaimed`, or None to go by the file; `threshold` as in `policy.trace.traces_in`.
    Raises NotFound and InvalidInput.
    """
    try:
        given = Polarity(polarity) if polarity else None
    except ValueError as error:
        raise InvalidInput(f"--polarity is available or reclaimed, not {polarity!r}") from error
    found = read_traces(path, given, threshold)
    if not any(any(each.available) for each in found):
        if threshold is not None:
            raise InvalidInput(f"{path} never holds {threshold} instances or more: lower --threshold")
        raise InvalidInput(f"{path} has no capacity at any time, so nothing would run on Spot: is its polarity right?")
    return found
