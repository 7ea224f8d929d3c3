"""Reading a job's log forwards and backwards, a bounded piece at a time, with room for other requests in between."""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.errors import NotFound
from spotbatch.local.api.errors import ApiError
from spotbatch.local.api.region import Region

Line = tuple[float, str]

MAX_BYTES: Final = 1 << 20  # of an answer (API reference, GetLogEvents)
READ_LINES: Final = 500
_TOKEN: Final = re.compile(r"(f|b)/([0-9]{1,18})\.([0-9]{1,18})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in a log: a byte offset to go on from, and how many lines stand before it."""

    offset: int = 0
    line: int = 0

    def token(self, direction: str) -> str:
        """The place as a nextToken; the direction is f (forwards) or b."""
        return f"{direction}/{self.offset}.{self.line}"


BEGINNING: Final = Place()


def read_token(token: object) -> tuple[str, Place]:
    """The direction and the place that a nextToken means. Raises ApiError for one that is not ours."""
    match = _TOKEN.fullmatch(token) if isinstance(token, str) else None
    if match is None:
        raise bad_token(token)
    return match[1], Place(offset=int(match[2]), line=int(match[3]))


def bad_token(token: object) -> ApiError:
    return ApiError("InvalidParameterException", f"nextToken {token!r:.100} is not one that this region gave")


def read(region: Region, stream: str, offset: int, limit: int) -> tuple[Sequence[Line], int]:
    """Lines from an offset on, and the offset after them. Raises ApiError for a stream that is not there."""
    try:
        return region.engine.read_log(stream, offset=offset, limit=limit)
    except NotFound:
        raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.") from None


async def forward(region: Region, stream: str, start: Place, limit: int) -> tuple[list[Line], Place]:
    """Up to `limit` lines or about a megabyte from a place on, and the place after them."""
    found: list[Line] = []
    size = 0
    place = start
    while len(found) < limit and size < MAX_BYTES:
        lines, offset = read(region, stream, place.offset, min(limit - len(found), READ_LINES))
        if not lines:
            break
        found += lines
        size += sum(len(line) for _, line in lines)
        place = Place(offset=offset, line=place.line + len(lines))
        await asyncio.sleep(0)
    return found, place


async def before(region: Region, stream: str, stop: Place | None, limit: int) -> tuple[Place, list[Line], Place]:
    """The last `limit` lines (or about a megabyte) before a place or the end, where they start and where they end.

    The log is read from its beginning, since only that finds its lines; it is rare for long logs.
    """
    kept: deque[tuple[Place, Sequence[Line]]] = deque()
    count = size = 0
    place = BEGINNING
    while stop is None or place.line < stop.line:
        most = READ_LINES if stop is None else min(READ_LINES, stop.line - place.line)
        lines, offset = read(region, stream, place.offset, most)
        if not lines:
            break
        kept.append((place, lines))
        count += len(lines)
        size += sum(len(line) for _, line in lines)
        place = Place(offset=offset, line=place.line + len(lines))
        while len(kept) > 1 and (count - len(kept[0][1]) >= limit or size > MAX_BYTES):
            dropped = kept.popleft()[1]
            count -= len(dropped)
            size -= sum(len(line) for _, line in dropped)
        await asyncio.sleep(0)
    if not kept:
        return place, [], place
    surplus = max(0, count - limit)
    begin = kept[0][0]
    if surplus:
        begin = Place(offset=read(region, stream, begin.offset, surplus)[1], line=begin.line + surplus)
    return begin, [line for _, lines in kept for line in lines][surplus:], place
