"""Reads a job's log forwards and backwards in bounded pieces, so that other requests are served in between."""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from typing import Final

from spotbatch.batch.errors import NotFound
from spotbatch.local.api.errors import ApiError
from spotbatch.local.api.region import Region

Line = tuple[float, str]

MAX_BYTES: Final = 1 << 20  # of a response (API reference, GetLogEvents)
READ_LINES: Final = 500
_TOKEN: Final = re.compile(r"(f|b)/([0-9]{1,18})")


def token(direction: str, offset: int) -> str:
    """A position in a log as a nextToken; the direction is f (forwards) or b."""
    return f"{direction}/{offset}"


def read_token(given: object) -> tuple[str, int]:
    """The direction and the byte offset encoded in a nextToken. Raises ApiError if it is not ours."""
    match = _TOKEN.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise bad_token(given)
    return match[1], int(match[2])


def bad_token(given: object) -> ApiError:
    return ApiError("InvalidParameterException", f"nextToken {given!r:.100} is not one that this region gave")


def unknown_stream() -> ApiError:
    return ApiError("ResourceNotFoundException", "The specified log stream does not exist.")


def read(region: Region, stream: str, offset: int, limit: int) -> tuple[Sequence[Line], int]:
    """Lines from an offset on, and the offset after them. Raises ApiError if the stream does not exist."""
    try:
        return region.engine.read_log(stream, offset=offset, limit=limit)
    except NotFound:
        raise unknown_stream() from None


async def forward(region: Region, stream: str, start: int, limit: int) -> tuple[list[Line], int]:
    """Up to `limit` lines or about a megabyte from an offset on, and the offset after them."""
    found: list[Line] = []
    size = 0
    while len(found) < limit and size < MAX_BYTES:
        lines, start = read(region, stream, start, min(limit - len(found), READ_LINES))
        if not lines:
            break
        found += lines
        size += _size(lines)
        await asyncio.sleep(0)
    return found, start


async def backward(region: Region, stream: str, stop: int | None, limit: int) -> tuple[int, list[Line], int]:
    """The last `limit` lines (or about a megabyte) before an offset or the end, with their start and end offsets."""
    pieces: deque[Sequence[Line]] = deque()
    count = size = 0
    end: int | None = None
    while count < limit and size < MAX_BYTES and stop != 0:
        try:
            stop, lines, after = region.engine.read_log_back(stream, stop=stop, limit=min(READ_LINES, limit - count))
        except NotFound:
            raise unknown_stream() from None
        end = after if end is None else end
        pieces.appendleft(lines)
        count += len(lines)
        size += _size(lines)
        await asyncio.sleep(0)
    return stop or 0, [line for piece in pieces for line in piece], end or 0


def _size(lines: Sequence[Line]) -> int:
    return sum(len(line) for _, line in lines)
