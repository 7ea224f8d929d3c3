"""Output of a watched run: a live display on a terminal, plain lines in a pipe, JSON events for programs."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli.output import json, text
from spotbatch.runs.follow import Failure, Following
from spotbatch.runs.tracker import BAR_ORDER, Progress, Tracker
from spotbatch.runs.units import run_size

if TYPE_CHECKING:
    from rich.text import Text


_BAR_CELLS: Final = 60
_LINES_SO_FAR: Final = 60.0  # a line at most every sixtieth of the elapsed time: an hour's run does not fill a log
_FIRST_BEAT_SECONDS: Final = 5.0
_BEAT_SECONDS: Final = 30.0


class Screen(Protocol):
    """Progress output: a live display, plain lines, or JSON events."""

    def show(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None: ...

    def failure(self, failure: Failure) -> None: ...

    def note(self, line: str) -> None: ...

    def end(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None: ...

    def close(self) -> None: ...


def open_screen(*, as_json: bool) -> Screen:
    """The screen appropriate for standard output."""
    if as_json:
        return EventScreen()
    return LiveScreen() if sys.stdout.isatty() else LineScreen()


def play(following: Following, screen: Screen, facts: Callable[[Tracker], str] = lambda _: "") -> None:
    """Show each look at a run on a screen, with what is known beside it, until it ends."""
    for look in following.looks():
        beside = facts(following.tracker)
        if not look.is_last:
            screen.show(look.jobs, look.progress, beside)
        for failure in look.failures:
            screen.failure(failure)
        for note in look.notes:
            screen.note(note)
        if look.is_last:
            screen.end(look.jobs, look.progress, beside)


def title(jobs: Sequence[Job]) -> str:
    """A short description of what is watched."""
    if len(jobs) == 1:
        size = f", {jobs[0].array.size:,} children" if jobs[0].array is not None else ""
        return f"{jobs[0].name} ({jobs[0].id}{size})"
    return f"{jobs[0].name} (a run of {len(jobs)} jobs, {text.count(run_size(jobs), 'child')})"


def counts_line(progress: Progress) -> str:
    """Every status that has units, with its count."""
    return "  ".join(f"{status} {count:,}" for status in BAR_ORDER if (count := progress.counts[status]))


def facts_line(progress: Progress, facts: str) -> str:
    """Rate, time left, interruptions, retries, and what else is known (cost, a report), as far as available."""
    parts = []
    if progress.units_per_second is not None:
        parts.append(f"{progress.units_per_second * 60:.1f} a minute")
    if progress.seconds_left is not None:
        parts.append(f"about {text.duration(progress.seconds_left)} left")
    if progress.interruptions or progress.retries:
        seen = "" if progress.is_complete else " seen so far"
        parts.append(f"{_met(progress)}{seen}")
    if facts:
        parts.append(facts)
    return " · ".join(parts)


class Pace:
    """When a line is due: on a change, and as a sign of life if nothing changes; less often in a longer run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun_at = clock()
        self._last: object = None
        self._last_at = float("-inf")

    def is_due(self, state: object) -> bool:
        """Whether to write now; if so, this state counts as written."""
        now = self._clock()
        passed, silent = now - self._begun_at, now - self._last_at
        gap = passed / _LINES_SO_FAR
        beat = max(gap, min(_BEAT_SECONDS, max(_FIRST_BEAT_SECONDS, passed / 4)))
        if (state != self._last and silent >= gap) or silent >= beat:
            self._last, self._last_at = state, now
            return True
        return False


def _state(progress: Progress) -> object:
    return (tuple(progress.counts.items()), progress.interruptions, progress.retries)


class LineScreen:
    """A line when something changed, less often the longer the run takes: for pipes, logs and CI."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = Pace(clock)
        self._is_begun = False

    def show(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None:
        if not self._is_begun:
            self._is_begun = True
            text.say(title(jobs))
        if self._pace.is_due(_state(progress)):
            line = facts_line(progress, facts)
            text.say(f"{text.clock(time.time())}  {counts_line(progress)}{'  · ' if line else ''}{line}")

    def failure(self, failure: Failure) -> None:
        text.say(f"{text.clock(time.time())}  {failure.label} FAILED: {failure.in_words}")

    def note(self, line: str) -> None:
        text.hint(line)

    def end(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None:
        text.say(ending(jobs, progress, facts))

    def close(self) -> None:
        """Nothing to release."""


def ending(jobs: Sequence[Job], progress: Progress, facts: str) -> str:
    """The last line: how it ended, how long it took, and what happened."""
    begun = min((job.created_at for job in jobs if job.created_at is not None), default=None)
    stopped = max((job.stopped_at for job in jobs if job.stopped_at is not None), default=None)
    took = f" in {text.duration(stopped - begun)}" if begun is not None and stopped is not None else ""
    failed = progress.counts[JobStatus.FAILED]
    verdict = (
        "SUCCEEDED" if not failed else "FAILED" if progress.total == 1 else f"{failed:,} of {progress.total:,} FAILED"
    )
    met = f", {_met(progress)}{'' if progress.is_complete else ' seen'}" if progress.seen else ""
    return f"{verdict}{took}{met}{', ' if facts else ''}{facts}"


def _met(progress: Progress) -> str:
    return f"{text.count(progress.interruptions, 'interruption')}, {text.count(progress.retries, 'retry')}"


class EventScreen:
    """One JSON object per line: progress on changes and now and then, failures as they happen, the end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = Pace(clock)

    def show(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None:
        if self._pace.is_due(_state(progress)):
            json.write_event({"event": "progress", **_fields(jobs, progress, facts)})

    def failure(self, failure: Failure) -> None:
        json.write_event(
            {
                "event": "failure",
                "job_id": failure.unit,
                "run_index": failure.index,
                "input": failure.input or None,
                "exit_code": failure.exit_code,
                "reason": failure.reason,
                "status_reason": failure.status_reason,
            }
        )

    def note(self, line: str) -> None:
        json.write_event({"event": "note", "text": line})

    def end(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None:
        json.write_event({"event": "ended", **_fields(jobs, progress, facts)})

    def close(self) -> None:
        """Nothing to release."""


def _fields(jobs: Sequence[Job], progress: Progress, facts: str) -> dict[str, object]:
    return {
        "at": time.time(),
        "jobs": {job.id: job.status.value for job in jobs},
        "counts": {status.value: count for status, count in progress.counts.items()},
        "total": progress.total,
        "interruptions": progress.interruptions,
        "retries": progress.retries,
        "units_seen": progress.seen,
        "units_per_second": progress.units_per_second,
        "seconds_left": progress.seconds_left,
        "facts": facts or None,
    }


class LiveScreen:
    """A display redrawn in place: one bar by status, counts, rate, cost; failures scroll above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._is_on = False

    def show(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None:
        if not self._is_on:
            self._live.start()
            self._is_on = True
        self._live.update(picture(jobs, progress, facts, time.time()), refresh=True)

    def failure(self, failure: Failure) -> None:
        self._print(f"✗ {failure.label} FAILED: {failure.in_words}", "red")

    def note(self, line: str) -> None:
        self._print(line, "yellow")

    def end(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None:
        self.close()
        self._console.print(picture(jobs, progress, facts, time.time()))
        style = "bold red" if progress.counts[JobStatus.FAILED] else "bold green"
        self._print(ending(jobs, progress, facts), style)

    def close(self) -> None:
        if self._is_on:
            self._live.stop()
            self._is_on = False

    def _print(self, line: str, style: str) -> None:
        from rich.text import Text

        self._console.print(Text(text.harmless(line), style=style))


def picture(jobs: Sequence[Job], progress: Progress, facts: str, now: float) -> "Text":
    """The bar and its lines, as rich text."""
    from rich.text import Text

    out = Text()
    begun = min((job.created_at for job in jobs if job.created_at), default=now)
    out.append(title(jobs), style="bold")
    out.append(f"  {text.duration(now - begun)}\n", style="dim")
    for status, cells in bar_cells(progress, _BAR_CELLS):
        out.append("█" * cells if status.is_terminal else "▒" * cells, style=text.STATUS_STYLE[status])
    out.append(f"  {progress.done:,}/{progress.total:,}\n")
    for status in BAR_ORDER:
        if progress.counts[status]:
            out.append(f"{status} {progress.counts[status]:,}  ", style=text.STATUS_STYLE[status])
    line = facts_line(progress, facts)
    out.append(f"\n{line}" if line else "")
    return out


def bar_cells(progress: Progress, width: int) -> list[tuple[JobStatus, int]]:
    """How many cells of the bar each status gets: at least one if it has units, and all cells are used."""
    present = [(status, progress.counts[status]) for status in BAR_ORDER if progress.counts[status]]
    cells = [max(1, count * width // max(1, progress.total)) for _, count in present]
    while present and sum(cells) != width:
        step = 1 if sum(cells) < width else -1
        cells[cells.index(max(cells))] += step
    return [(status, count) for (status, _), count in zip(present, cells, strict=True)]
