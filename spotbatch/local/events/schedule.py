"""EventBridge's schedule expressions, rate(...) and cron(...): when a rule fires next. Pure, in UTC.

Source: EventBridge user guide, "Schedule types": the minimum is a minute; a cron expression has six fields, and one
of day-of-month and day-of-week is `?`; days of the week are 1 to 7 starting with SUN.
"""

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from spotbatch.batch.errors import InvalidInput

_SECONDS: Final = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
_RATE: Final = re.compile(r"rate\(\s*([0-9]{1,9})\s+(minute|hour|day)(s?)\s*\)")
_CRON: Final = re.compile(r"cron\(([^()]*)\)")
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], 1
    )
}
_DAYS: Final = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)}
_LAST_YEAR: Final = 2199
_MOST_DAYS: Final = 366 * 29  # 29 February recurs within eight years; a list of years may extend further


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Seconds from one firing to the next."""

    seconds: float

    def following(self, after: float, begun: float) -> float | None:
        """The first time after `after` (UTC epoch seconds); counted from the rule's creation."""
        return begun + (max(0, int((after - begun) // self.seconds)) + 1) * self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """The minutes and hours on the days selected by `takes`."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    takes: Callable[[date], bool]

    def following(self, after: float, begun: float) -> float | None:  # noqa: ARG002 - same as for a rate
        """The first time after `after` (UTC epoch seconds); None if there is none."""
        start = datetime.fromtimestamp(after, UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        for number in range(_MOST_DAYS):
            day = start.date() + timedelta(days=number)
            if day.year > _LAST_YEAR:
                return None
            if not self.takes(day):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                    if moment >= start:
                        return moment.timestamp()
        return None


Schedule = Rate | Cron


def schedule_of(expression: str) -> Schedule:
    """Parse an expression. Raises InvalidInput with the wording of PutRule's own error."""
    rate = _RATE.fullmatch(expression)
    if rate is not None:
        count = int(rate[1])
        if count < 1 or (count == 1) is bool(rate[3]):  # 1 minute, but 2 minutes
            raise _refusal(expression)
        return Rate(seconds=count * _SECONDS[rate[2]])
    cron = _CRON.fullmatch(expression)
    fields = cron[1].split() if cron is not None else []
    if len(fields) != 6:
        raise _refusal(expression)
    try:
        return _cron(fields)
    except ValueError:
        raise _refusal(expression) from None


def _refusal(expression: str) -> InvalidInput:
    return InvalidInput(f"Parameter ScheduleExpression is not valid: {expression!r:.200}")


def _cron(fields: list[str]) -> Cron:
    minute, hour, day, month, weekday, year = (one.upper() for one in fields)
    if (day == "?") is (weekday == "?"):
        raise ValueError("one of day-of-month and day-of-week is ?")
    months = frozenset(_numbers(month, 1, 12, _MONTHS))
    years = frozenset(_numbers(year, 1970, _LAST_YEAR))
    takes = _day_of_month(day) if weekday == "?" else _day_of_week(weekday)
    return Cron(
        minutes=_numbers(minute, 0, 59),
        hours=_numbers(hour, 0, 23),
        takes=lambda one: one.month in months and one.year in years and takes(one),
    )


def _numbers(field: str, least: int, most: int, names: dict[str, int] | None = None) -> tuple[int, ...]:
    """The values of a field with lists, ranges and steps. Raises ValueError."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = least, most
        else:
            low, dash, high = span.partition("-")
            first = _number(low, names)
            last = _number(high, names) if dash else (most if step else first)
        every = int(step) if step else 1
        if not least <= first <= last <= most or every < 1:
            raise ValueError(field)
        found.update(range(first, last + 1, every))
    return tuple(sorted(found))


def _number(text: str, names: dict[str, int] | None) -> int:
    return (names or {}).get(text) or int(text)


def _day_of_month(field: str) -> Callable[[date], bool]:
    if field == "L":
        return lambda day: day.day == _length(day)
    if field.endswith("W"):
        wanted = int(field[:-1])
        if not 1 <= wanted <= 31:
            raise ValueError(field)
        return lambda day: day.day == _nearest_weekday(day, wanted)
    days = frozenset(_numbers(field, 1, 31))
    return lambda day: day.day in days


def _day_of_week(field: str) -> Callable[[date], bool]:
    if field == "L":
        return lambda day: _weekday(day) == _DAYS["SAT"]
    if field.endswith("L"):  # the last such day of the month
        last = _numbers(field[:-1], 1, 7, _DAYS)[0]
        return lambda day: _weekday(day) == last and day.day + 7 > _length(day)
    if "#" in field:
        name, _, which = field.partition("#")
        wanted, number = _numbers(name, 1, 7, _DAYS)[0], _numbers(which, 1, 5)[0]
        return lambda day: _weekday(day) == wanted and (day.day - 1) // 7 + 1 == number
    days = frozenset(_numbers(field, 1, 7, _DAYS))
    return lambda day: _weekday(day) in days


def _weekday(day: date) -> int:
    return day.isoweekday() % 7 + 1


def _length(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_weekday(day: date, wanted: int) -> int:
    """The weekday nearest to a day of the month, within the same month."""
    length = _length(day)
    aim = day.replace(day=min(wanted, length))
    if aim.isoweekday() == 6:
        return aim.day - 1 if aim.day > 1 else 3
    if aim.isoweekday() == 7:
        return aim.day + 1 if aim.day < length else aim.day - 2
    return aim.day
