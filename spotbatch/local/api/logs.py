"""The reading side of CloudWatch Logs for job output; the rest of that service is moto's.

Events are the lines of the log file. A nextToken is a position in it, as opaque to clients as AWS's own.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.api.container import log_group_of, log_prefix_of
from spotbatch.local.api.errors import ApiError, error_response
from spotbatch.local.api.http import Head, Response, json_response
from spotbatch.local.api.log_queries import (
    MAX_BYTES,
    READ_LINES,
    backward,
    bad_token,
    forward,
    read,
    read_token,
    token,
    unknown_stream,
)
from spotbatch.local.api.region import Document, Region
from spotbatch.local.events.log_pattern import test_of

_TARGET: Final = "Logs_20140328."
_MAX_EVENTS: Final = 10_000
_MAX_STREAMS: Final = 50
_MAX_NAMED: Final = 100  # logStreamNames of one FilterLogEvents
_MAX_READS: Final = 200  # of one FilterLogEvents; its token continues after that
_FILTER_TOKEN: Final = re.compile(r"(.{1,512})\|([0-9]{1,18})\|([0-9]{1,18})\|([0-9]{1,18})")


async def answer(region: Region, head: Head, body: bytes) -> Response | None:
    """The response to a read of job logs; None for everything that moto is to answer."""
    operation = head.header("x-amz-target").removeprefix(_TARGET)
    function = _OPERATIONS.get(operation)
    if function is None:
        return None
    try:
        asked = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return error_response(ApiError("SerializationException", "the body is not JSON"))
    try:
        found = await function(region, asked) if isinstance(asked, dict) else None
    except ApiError as error:
        return error_response(error)
    return json_response(found, headers=[("content-type", "application/x-amz-json-1.1")]) if found is not None else None


def _group_of(asked: Document) -> str:
    group = asked.get("logGroupName") or str(asked.get("logGroupIdentifier", "")).partition(":log-group:")[2]
    return str(group).removesuffix(":*")


def _is_there(region: Region, group: str, stream: str) -> bool:
    """Whether a job wrote a stream with this full name in this group. The last part alone identifies no stream."""
    job_id = region.engine.job_of_stream(stream)
    if job_id is None:
        return False
    described = region.engine.described(job_id)
    container = described.get("container")
    if not isinstance(container, Mapping):
        return False
    definition = str(described.get("jobDefinition", "")).rpartition("/")[2].partition(":")[0]
    return group == log_group_of(container) and stream.startswith(f"{log_prefix_of(container) or definition}/default/")


async def _get_log_events(region: Region, asked: Document) -> Document | None:
    stream = str(asked.get("logStreamName", ""))
    if not _is_there(region, _group_of(asked), stream):
        return None
    limit, wanted = _limit(asked), _wanted(asked)
    given = asked.get("nextToken")
    direction, place = read_token(given) if given is not None else ("f" if asked.get("startFromHead") else "b", None)
    if direction == "f":
        start = place or 0
        lines, end = await forward(region, stream, start, limit)
    else:
        start, lines, end = await backward(region, stream, place, limit)
    return {
        "events": [_event(at, line) for at, line in lines if wanted(at)],
        "nextForwardToken": token("f", end),
        "nextBackwardToken": token("b", start),
    }


def _event(at: float, line: str) -> Document:
    moment = round(at * 1000)
    return {"timestamp": moment, "message": line, "ingestionTime": moment}


def _wanted(asked: Document) -> Callable[[float], bool]:
    """Whether a time is in [startTime, endTime), which the API gives in milliseconds."""
    start, end = _number(asked, "startTime"), _number(asked, "endTime")
    return lambda at: (start is None or round(at * 1000) >= start) and (end is None or round(at * 1000) < end)


def _number(asked: Document, name: str) -> float | None:
    value = asked.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ApiError("InvalidParameterException", f"{name} is a number")
    return value


def _limit(asked: Document, most: int = _MAX_EVENTS) -> int:
    limit = asked.get("limit", most)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise ApiError("InvalidParameterException", f"limit must be 1 to {most}, not {limit!r:.50}")
    return limit


async def _describe_streams(region: Region, asked: Document) -> Document | None:
    group, token, prefix = _group_of(asked), asked.get("nextToken"), str(asked.get("logStreamNamePrefix") or "")
    by_time = _is_by_time(asked.get("orderBy"), prefix)
    began = region.engine.log_streams(group, prefix)
    if not began:
        return None
    streams = list(began) if by_time else sorted(began)
    if asked.get("descending"):
        streams.reverse()
    if token is not None and not (isinstance(token, str) and token in began):
        raise bad_token(token)
    start, limit = (0 if token is None else streams.index(token) + 1), _limit(asked, _MAX_STREAMS)
    shown = streams[start : start + limit]
    found: Document = {"logStreams": [await _stream(region, group, one, began[one]) for one in shown]}
    if start + limit < len(streams):
        found["nextToken"] = shown[-1]
    return found


def _is_by_time(order: object, prefix: str) -> bool:
    if order not in (None, "LogStreamName", "LastEventTime"):
        raise ApiError(
            "InvalidParameterException", f"orderBy can only be LogStreamName or LastEventTime, not {order!r:.50}"
        )
    if order == "LastEventTime" and prefix:
        raise ApiError("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
    return order == "LastEventTime"


async def _stream(region: Region, group: str, stream: str, began_at: float) -> Document:
    names = region.names
    document: Document = {
        "logStreamName": stream,
        "creationTime": round(began_at * 1000),
        "arn": f"arn:aws:logs:{names.region}:{names.account_id}:log-group:{group}:log-stream:{stream}",
        "storedBytes": 0,
    }
    first, _ = read(region, stream, 0, 1)
    if first:
        _, last, _ = await backward(region, stream, None, 1)
        document["firstEventTimestamp"] = round(first[0][0] * 1000)
        document["lastEventTimestamp"] = document["lastIngestionTime"] = round(last[-1][0] * 1000)
    return document


async def _filter_events(region: Region, asked: Document) -> Document | None:
    """FilterLogEvents over the streams in order of name.

    One call reads a bounded part; as on AWS a response may be empty and still have a token to continue with. Events
    newer than the first call wait for the next one: whoever follows a group by the time of the last event (as `aws logs
    tail --follow` does) would otherwise miss what a stream that was read earlier received in the meantime.
    """
    streams = _filtered_streams(region, asked)
    if not streams:
        return None
    matches, wanted, limit = _pattern(str(asked.get("filterPattern", ""))), _wanted(asked), _limit(asked)
    place, offset, number, begun = _resume(streams, asked.get("nextToken"), round(region.clock() * 1000))
    events: list[Document] = []
    size = reads = 0
    while place < len(streams) and len(events) < limit and size < MAX_BYTES and reads < _MAX_READS:
        stream = streams[place]
        lines, following = read(region, stream, offset, min(READ_LINES, limit - len(events)))
        events += [
            {**_event(at, line), "logStreamName": stream, "eventId": f"{stream}/{number + count}"}
            for count, (at, line) in enumerate(lines)
            if round(at * 1000) <= begun and matches(line) and wanted(at)
        ]
        size += sum(len(line) for _, line in lines)
        reads += 1
        place, offset, number = (place, following, number + len(lines)) if lines else (place + 1, 0, 0)
        await asyncio.sleep(0)
    found: Document = {"events": events, "searchedLogStreams": []}
    if place < len(streams):
        found["nextToken"] = f"{streams[place]}|{offset}|{number}|{begun}"
    return found


def _filtered_streams(region: Region, asked: Document) -> list[str]:
    """The requested streams; empty if moto is to answer. Raises ApiError where AWS would refuse it."""
    named, group = asked.get("logStreamNames"), _group_of(asked)
    if not isinstance(named, list):
        return sorted(region.engine.log_streams(group, str(asked.get("logStreamNamePrefix", ""))))
    if "logStreamNamePrefix" in asked:  # API reference, FilterLogEvents: one or the other
        raise ApiError(
            "InvalidParameterException", "give logStreamNames or logStreamNamePrefix to FilterLogEvents, not both"
        )
    if not 1 <= len(named) <= _MAX_NAMED:
        raise ApiError("InvalidParameterException", f"logStreamNames holds 1 to {_MAX_NAMED} names, not {len(named)}")
    ours = {str(one) for one in named if _is_there(region, group, str(one))}
    if len(ours) < len({str(one) for one in named}) and (ours or region.engine.log_streams(group)):
        raise unknown_stream()
    return sorted(ours)


def _resume(streams: Sequence[str], token: object, now: int) -> tuple[int, int, int, int]:
    """The position among the streams, the offset and line number there, and the time of the first call."""
    if token is None:
        return 0, 0, 0, now
    match = _FILTER_TOKEN.fullmatch(token) if isinstance(token, str) else None
    if match is None or match[1] not in streams:
        raise bad_token(token)
    return streams.index(match[1]), int(match[2]), int(match[3]), int(match[4])


def _pattern(pattern: str) -> Callable[[str], bool]:
    """Terms, or conditions on JSON. Raises ApiError."""
    try:
        return test_of(pattern)
    except InvalidInput as error:
        raise ApiError("InvalidParameterException", str(error)) from error


async def _start_live_tail(region: Region, asked: Document) -> Document | None:
    """Refused for job logs: clients prefix the endpoint's host with `stream-`, which 127.0.0.1 cannot have."""
    identifiers = asked.get("logGroupIdentifiers")
    if not isinstance(identifiers, list) or not identifiers:
        raise ApiError("InvalidParameterException", "logGroupIdentifiers is a list of log groups' ARNs")
    groups = {str(one).partition(":log-group:")[2] or str(one) for one in identifiers}
    if not any(region.engine.log_streams(group) for group in groups):
        return None
    raise ApiError(
        "InvalidOperationException",
        "the local region does not stream job logs: ask GetLogEvents again with its nextForwardToken, "
        "or use `spotbatch logs -f`",
    )


_OPERATIONS: Final[dict[str, Callable[[Region, Document], Awaitable[dict[str, Any] | None]]]] = {
    "GetLogEvents": _get_log_events,
    "FilterLogEvents": _filter_events,
    "DescribeLogStreams": _describe_streams,
    "StartLiveTail": _start_live_tail,
}
