"""The reading side of CloudWatch Logs for what jobs wrote; all else of that service is moto's.

Events are the lines of the log file. A nextToken is a byte offset, as opaque to clients as AWS's own.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.local.api.errors import ApiError, error_response
from spotbatch.local.api.http import Head, Response, json_response
from spotbatch.local.api.region import Document, Region

_TARGET: Final = "Logs_20140328."
_MAX_EVENTS: Final = 10_000
_MAX_STREAMS: Final = 50
_FORWARD: Final = "f/"
_BACKWARD: Final = "b/"


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


def _get_log_events(region: Region, asked: Document) -> Document:
    stream = str(asked.get("logStreamName", ""))
    limit = _limit(asked)
    token = asked.get("nextToken")
    from_head = bool(asked.get("startFromHead")) or (isinstance(token, str) and token.startswith(_FORWARD))
    wanted = _wanted(asked)
    if token is None and not from_head:
        start, events, end = _tail(region, stream, limit, wanted)
    elif isinstance(token, str) and token.startswith(_BACKWARD):
        # What lies before a tail is read from the beginning up to there.
        start, events, end = _before(region, stream, _offset(token), limit, wanted)
    else:
        start = _offset(token) if token else 0
        events, end = _read(region, stream, start, limit)
        events = [event for event in events if wanted(event[0])]
    return {
        "events": [
            {"timestamp": round(at * 1000), "message": line, "ingestionTime": round(at * 1000)} for at, line in events
        ],
        "nextForwardToken": f"{_FORWARD}{end}",
        "nextBackwardToken": f"{_BACKWARD}{start}",
    }


Line = tuple[float, str]


def _read(region: Region, stream: str, offset: int, limit: int) -> tuple[Sequence[Line], int]:
    try:
        return region.engine.read_log(stream, offset=offset, limit=limit)
    except NotFound:
        raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.") from None


def _tail(region: Region, stream: str, limit: int, wanted: Callable[[float], bool]) -> tuple[int, Sequence[Line], int]:
    """The last `limit` lines, as AWS gives them without startFromHead."""
    return _before(region, stream, None, limit, wanted)


def _before(
    region: Region, stream: str, stop: int | None, limit: int, wanted: Callable[[float], bool]
) -> tuple[int, Sequence[Line], int]:
    """The last `limit` lines before an offset (or the end), where they start, and where they end."""
    kept: list[tuple[int, Line]] = []
    offset = 0
    while stop is None or offset < stop:
        lines, following = _read(region, stream, offset, _MAX_EVENTS)
        if not lines:
            break
        position = offset
        for at, line in lines:
            if stop is not None and position >= stop:
                break
            if wanted(at):
                kept.append((position, (at, line)))
            position += len(line.encode("utf-8", "replace")) + 1
        del kept[:-limit]
        offset = following
    end = stop if stop is not None else offset
    return (kept[0][0] if kept else end), [line for _, line in kept], end


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


def _offset(token: object) -> int:
    match = re.fullmatch(r"[fb]/([0-9]{1,18})", token) if isinstance(token, str) else None
    if match is None:
        raise ApiError("InvalidParameterException", f"nextToken {token!r:.100} is not one that this region gave")
    return int(match[1])


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
    while place < len(streams) and len(events) < limit:
        lines, following = _read(region, streams[place], offset, limit - len(events))
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
