"""Job output from CloudWatch Logs: a stream from its start, its end, or as it grows."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spotbatch.aws import session
from spotbatch.batch.errors import NotFound

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

DEFAULT_GROUP: Final = "/aws/batch/job"  # AWS Batch user guide, "Use the awslogs log driver"
_PAGE: Final = 10_000  # API reference, GetLogEvents


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEvent:
    """One line, when it was written (UTC epoch seconds), and its stream."""

    at: float
    text: str
    stream: str


def _client() -> "CloudWatchLogsClient":
    return session.client("logs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Logs:
    """The log streams of one group."""

    group: str = DEFAULT_GROUP
    logs: "CloudWatchLogsClient" = field(default_factory=_client)

    def tail(self, stream: str, lines: int) -> list[LogEvent]:
        """The last lines of a stream. Raises NotFound if nothing was written yet."""
        answer = self._get(logStreamName=stream, limit=min(lines, _PAGE), startFromHead=False)
        return _events(answer, stream)[-lines:]

    def read(self, stream: str) -> Iterator[LogEvent]:
        """A stream from its start to its current end."""
        cursor = Cursor(logs=self, stream=stream)
        while found := cursor.more():
            yield from found

    def _get(self, **asked: Any) -> Any:
        try:
            return self.logs.get_log_events(logGroupName=self.group, **asked)
        except NotFound as error:
            stream = asked["logStreamName"]
            raise NotFound(f"nothing was written to log stream {stream} of group {self.group} yet") from error


@dataclass(kw_only=True, slots=True)
class Cursor:
    """A position in a stream that moves forward: each call of `more` returns what is new."""

    logs: Logs
    stream: str
    token: str | None = None

    def last(self, lines: int) -> list[LogEvent]:
        """The last lines so far; `more` continues after them."""
        try:
            asked: Any = {"limit": min(lines, _PAGE), "startFromHead": False}
            answer = self.logs._get(logStreamName=self.stream, **asked)  # noqa: SLF001 - same file
        except NotFound:
            return []
        self.token = answer["nextForwardToken"]
        return _events(answer, self.stream)[-lines:]

    def more(self) -> list[LogEvent]:
        """What was written since the last call; empty if nothing was, or if the stream does not exist yet.

        GetLogEvents may return an empty page before the end: the end is reached when the token stays the same
        (API reference, GetLogEvents).
        """
        while True:
            asked: dict[str, Any] = {"nextToken": self.token} if self.token is not None else {}
            try:
                answer = self.logs._get(logStreamName=self.stream, startFromHead=True, **asked)  # noqa: SLF001 - same file
            except NotFound:
                return []
            before, self.token = self.token, answer["nextForwardToken"]
            if answer["events"] or self.token == before:
                return _events(answer, self.stream)


def _events(answer: Any, stream: str) -> list[LogEvent]:
    return [
        LogEvent(at=each["timestamp"] / 1000, text=each["message"].rstrip("\n"), stream=stream)
        for each in answer["events"]
    ]
