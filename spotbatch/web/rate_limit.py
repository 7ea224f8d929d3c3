"""How often AWS may be asked: under one call a second on the average, whoever makes the calls."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SECONDS_A_CALL: Final = 1.1
_BURST: Final = 12.0  # a page that is opened may be filled at once; the poller then waits until that is made up for
_MOST_DEBT: Final = 8.0  # somebody who goes through many pages quickly must not stop the news for minutes
_NOTHING: Final = 1e-6  # of a call: what floats leave over


@dataclass(kw_only=True)
class RateLimit:
    """An allowance that grows with time up to a burst, and that every call anywhere in the program takes one from.

    So the poller alone keeps under one call a second; pages that are opened come on top, and it makes up for them by
    waiting, for ten seconds at the most.
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
