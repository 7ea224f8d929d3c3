"""The reading side of CloudWatch Logs for what jobs wrote; all else of that service is moto's.

Events are the lines of the log file. A nextToken is a place in it, as opaque to clients as AWS's own.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.local.api.errors import ApiError, error_response
from spotbatch.local.api.http import Head, Response, json_response
from spotbatch.local.api.region import Document, Region

_TARGET: Final = "Logs_20140328."
_MAX_EVENTS: Final = 10_000
_MAX_BYTES: Final = 1 << 20  # of an answer (API reference, GetLogEvents)
_READ_LINES: Final = 500
_MAX_STREAMS: Final = 50
_FORWARD: Final = "f/"
_BACKWARD: Final = "b/"
_TOKEN: Final = re.compile(r"(f/|b/)([0-9]{1,18})\.([0-9]{1,18})")

Line = tuple[float, str]


def answer(region: Region, head: Head, body: bytes) -> Response | None:
    """The answer to a read of job logs; None for everything that is moto's to answer."""
    operation = head.header("x-amz-target").removeprefix(_TARGET)
    function = _OPERATIONS.get(operation)
    if function is None:
        return None
    try:
        asked = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return error_response(ApiError("SerializationException", "the body is not JSON"))
    if not isinstance(asked, dict) or not _is_ours(region, asked):
        return None
    try:
        return json_response(function(region, asked), headers=[("content-type", "application/x-amz-json-1.1")])
    except ApiError as error:
        return error_response(error)


def _group_of(asked: Document) -> str:
    group = asked.get("logGroupName") or str(asked.get("logGroupIdentifier", "")).partition(":log-group:")[2]
    return str(group).removesuffix(":*")


def _is_ours(region: Region, asked: Document) -> bool:
    """Whether the group holds streams of jobs. A group that only moto knows stays with moto."""
    return bool(region.engine.log_streams(_group_of(asked)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """A place in a log: a byte offset to go on from, and how many lines stand before it."""

    offset: int = 0
    line: int = 0

    @property
    def token(self) -> str:
        return f"{self.offset}.{self.line}"


_BEGINNING: Final = _Place()


def _get_log_events(region: Region, asked: Document) -> Document:
    stream, limit, wanted = str(asked.get("logStreamName", "")), _limit(asked), _wanted(asked)
    token = asked.get("nextToken")
    if token is None:
        is_forward, place = bool(asked.get("startFromHead")), None
    else:
        is_forward, place = _read_token(token)
    if is_forward:
        start = place or _BEGINNING
        lines, end = _forward(region, stream, start, limit)
    else:
        start, lines, end = _before(region, stream, place, limit)
    events = [(at, line) for at, line in lines if wanted(at)]
    return {
        "events": [
            {"timestamp": round(at * 1000), "message": line, "ingestionTime": round(at * 1000)} for at, line in events
        ],
        "nextForwardToken": f"{_FORWARD}{end.token}",
        "nextBackwardToken": f"{_BACKWARD}{start.token}",
    }


def _read_token(token: object) -> tuple[bool, _Place]:
    match = _TOKEN.fullmatch(token) if isinstance(token, str) else None
    if match is None:
        raise ApiError("InvalidParameterException", f"nextToken {token!r:.100} is not one that this region gave")
    return match[1] == _FORWARD, _Place(offset=int(match[2]), line=int(match[3]))


def _forward(region: Region, stream: str, start: _Place, limit: int) -> tuple[list[Line], _Place]:
    """Up to `limit` lines or about a megabyte from a place on, and the place after them."""
    found: list[Line] = []
    size = 0
    place = start
    while len(found) < limit and size < _MAX_BYTES:
        lines, offset = _read(region, stream, place.offset, min(limit - len(found), _READ_LINES))
        if not lines:
            break
        found += lines
        size += sum(len(line) for _, line in lines)
        place = _Place(offset=offset, line=place.line + len(lines))
    return found, place


def _before(region: Region, stream: str, stop: _Place | None, limit: int) -> tuple[_Place, list[Line], _Place]:
    """The last `limit` lines before a place (or the end), where they start, and where they end.

    The log is read from its beginning: AWS's own order without startFromHead, and rare for long logs.
    """
    kept: deque[tuple[_Place, list[Line]]] = deque()
    count = 0
    place = _BEGINNING
    while stop is None or place.line < stop.line:
        most = _READ_LINES if stop is None else min(_READ_LINES, stop.line - place.line)
        lines, offset = _read(region, stream, place.offset, most)
        if not lines:
            break
        kept.append((place, list(lines)))
        count += len(lines)
        place = _Place(offset=offset, line=place.line + len(lines))
        while count - len(kept[0][1]) >= limit:
            count -= len(kept.popleft()[1])
    if not kept:
        return place, [], place
    surplus = max(0, count - limit)
    begin = kept[0][0]
    if surplus:
        begin = _Place(offset=_read(region, stream, begin.offset, surplus)[1], line=begin.line + surplus)
    return begin, [line for _, lines in kept for line in lines][surplus:], place


def _read(region: Region, stream: str, offset: int, limit: int) -> tuple[Sequence[Line], int]:
    try:
        return region.engine.read_log(stream, offset=offset, limit=limit)
    except NotFound:
        raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.") from None


def _wanted(asked: Document) -> Callable[[float], bool]:
    """Whether a moment lies in [startTime, endTime), as the API gives them in milliseconds."""
    start, end = _number(asked, "startTime"), _number(asked, "endTime")
    return lambda at: (start is None or at * 1000 >= start) and (end is None or at * 1000 < end)


def _number(asked: Document, name: str) -> float | None:
    value = asked.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ApiError("InvalidParameterException", f"{name} is a number")
    return value


def _limit(asked: Document) -> int:
    limit = asked.get("limit", _MAX_EVENTS)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _MAX_EVENTS:
        raise ApiError("InvalidParameterException", f"limit must be 1 to {_MAX_EVENTS}, not {limit!r:.50}")
    return limit


def _describe_streams(region: Region, asked: Document) -> Document:
    group = _group_of(asked)
    streams = sorted(region.engine.log_streams(group, str(asked.get("logStreamNamePrefix", ""))))
    limit = min(_limit({"limit": asked.get("limit", _MAX_STREAMS)}), _MAX_STREAMS)
    start = _position(streams, asked.get("nextToken"))
    answer_part: Document = {"logStreams": [_stream(region, group, one) for one in streams[start : start + limit]]}
    if start + limit < len(streams):
        answer_part["nextToken"] = streams[start + limit - 1]
    return answer_part


def _position(streams: Sequence[str], token: object) -> int:
    if token is None:
        return 0
    if token not in streams:
        raise ApiError("InvalidParameterException", f"nextToken {token!r:.100} is not one that this region gave")
    return streams.index(str(token)) + 1


def _stream(region: Region, group: str, stream: str) -> Document:
    lines, _ = _read(region, stream, 0, 1)
    names = region.names
    document: Document = {
        "logStreamName": stream,
        "arn": f"arn:aws:logs:{names.region}:{names.account_id}:log-group:{group}:log-stream:{stream}",
        "storedBytes": 0,
    }
    if lines:
        document["firstEventTimestamp"] = document["creationTime"] = round(lines[0][0] * 1000)
    return document


def _filter_events(region: Region, asked: Document) -> Document:
    """FilterLogEvents over the streams in their order; a token is `<stream>|<offset>`."""
    streams = _filtered_streams(region, asked)
    matches, wanted, limit = _pattern(str(asked.get("filterPattern", ""))), _wanted(asked), _limit(asked)
    place, offset = _resume(streams, asked.get("nextToken"))
    events: list[Document] = []
    size = 0
    while place < len(streams) and len(events) < limit and size < _MAX_BYTES:
        lines, following = _read(region, streams[place], offset, min(_READ_LINES, limit - len(events)))
        events += [
            {
                "logStreamName": streams[place],
                "timestamp": round(at * 1000),
                "ingestionTime": round(at * 1000),
                "message": line,
                "eventId": f"{streams[place]}/{offset}/{number}",
            }
            for number, (at, line) in enumerate(lines)
            if matches(line) and wanted(at)
        ]
        size += sum(len(line) for _, line in lines)
        place, offset = (place, following) if lines else (place + 1, 0)
    found: Document = {"events": events, "searchedLogStreams": []}
    if place < len(streams):
        found["nextToken"] = f"{streams[place]}|{offset}"
    return found


def _filtered_streams(region: Region, asked: Document) -> list[str]:
    prefix = str(asked.get("logStreamNamePrefix", ""))
    streams = sorted(region.engine.log_streams(_group_of(asked), prefix))
    named = asked.get("logStreamNames")
    return [stream for stream in streams if stream in named] if isinstance(named, list) else streams


def _resume(streams: Sequence[str], token: object) -> tuple[int, int]:
    if token is None:
        return 0, 0
    stream, _, offset = str(token).rpartition("|")
    if stream not in streams or not offset.isdigit():
        raise ApiError("InvalidParameterException", f"nextToken {token!r:.100} is not one that this region gave")
    return streams.index(stream), int(offset)


def _pattern(pattern: str) -> Callable[[str], bool]:
    """Terms that must all stand in a line; a quoted one may hold spaces. JSON patterns are refused."""
    if pattern.startswith(("{", "[", "%")):
        raise ApiError("InvalidParameterException", "the local region filters by plain terms only")
    terms = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', pattern)]
    return lambda line: all(term in line for term in terms)


_OPERATIONS: Final[dict[str, Callable[[Region, Document], dict[str, Any]]]] = {
    "GetLogEvents": _get_log_events,
    "FilterLogEvents": _filter_events,
    "DescribeLogStreams": _describe_streams,
}
