"""How often AWS may be queried: under one call per second on average, whoever makes the calls."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SECONDS_A_CALL: Final = 1.1
_BURST: Final = 12.0  # a newly opened page may load at once; the poller then waits to make up for it
_MOST_DEBT: Final = 8.0  # browsing many pages quickly must not stop updates for minutes
_NOTHING: Final = 1e-6  # of a call: float rounding


@dataclass(kw_only=True)
class RateLimit:
    """An allowance that grows over time up to a burst limit; every call anywhere in the program uses one.

    So the poller itself stays under one call per second; newly opened pages come on top, and it makes up for them by
    waiting at most ten seconds.
    """

    calls_made: Callable[[], int]
    clock: Callable[[], float]
    _allowance: float = field(default=_BURST, init=False)
    _seen: int = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._seen, self._at = self.calls_made(), self.clock()

    def wait_seconds(self) -> float:
        """How long to wait before the next call; 0 when it may be made now."""
        self._settle()
        missing = 1.0 - self._allowance
        return missing * SECONDS_A_CALL if missing > _NOTHING else 0.0

    def _settle(self) -> None:
        made, now = self.calls_made(), self.clock()
        grown = self._allowance + (now - self._at) / SECONDS_A_CALL
        self._allowance = max(-_MOST_DEBT, min(_BURST, grown) - (made - self._seen))
        self._seen, self._at = made, now
