"""Whether the attempt must end early, why, and how much time it has."""

import time

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.light_dataclass import dataclass
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say
from spotbatch.runtime.process.notice import read_notice
from spotbatch.runtime.process.signals import Signals

LAST_RESORT_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """The reason, and when everything must be finished."""

    cause: str  # notice, SIGTERM, SIGINT
    deadline: float  # monotonic

    def left_seconds(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


class Interruptions:
    """Watches the notice file and signals; if both arrive, the earlier deadline applies."""

    def __init__(self, signals: Signals, notice_file: Path | None, stop_seconds: float, record: AttemptRecord) -> None:
        self._signals = signals
        self._notice_file = notice_file
        self._stop_seconds = stop_seconds
        self._record = record
        self.current: Interruption | None = None
        self.is_told_to_stop = False  # after a signal: its sender waits for us

    def look(self) -> None:
        """Update `current`."""
        self._look_for_notice()
        asked, self._signals.asked_to_stop = self._signals.asked_to_stop, None
        if asked is not None:
            self.is_told_to_stop = True
            self._found(asked.name, self._stop_seconds)

    def left_seconds(self, seconds: float) -> float:
        """This many seconds, or fewer if an interruption leaves less time."""
        if self.current is None:
            return seconds
        return min(seconds, max(LAST_RESORT_SECONDS, self.current.left_seconds() - LAST_RESORT_SECONDS))

    def is_time_over(self) -> bool:
        return self.current is not None and self.current.left_seconds() <= 2 * LAST_RESORT_SECONDS

    def _look_for_notice(self) -> None:
        if self._notice_file is None:
            return
        now = time.time()
        notice = read_notice(self._notice_file, now)
        if notice is not None:
            self._notice_file = None  # logged once
            lead_seconds = notice.at - now
            if lead_seconds <= 0:
                say(f"the notice is of a time that has passed: taken as {self._stop_seconds:g} s from now")
                lead_seconds = self._stop_seconds  # a clock is wrong, and we are still alive: there is time to use
            self._found("notice", lead_seconds)

    def _found(self, cause: str, lead_seconds: float) -> None:
        if self.current is None:
            say(f"{cause}: {lead_seconds:.1f} s are left to save and leave")
            self._record.interruption_cause = cause
            self._record.noticed_at = time.time()
            self._record.notice_lead_seconds = round(lead_seconds, 3)
        deadline = time.monotonic() + lead_seconds
        if self.current is None or deadline < self.current.deadline:
            self.current = Interruption(cause=cause, deadline=deadline)
