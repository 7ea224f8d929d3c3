"""Starts processes through helpers: one, or two if there are enough cores.

A helper waits while each of its children starts, so two helpers start jobs faster; but on two cores the second would
compete with the region, which would then answer more slowly (bench/local_endpoint.py).
"""

import asyncio
import os
import signal
from dataclasses import replace
from typing import Final

from spotbatch.local.engine.helper_link import Calls, HelperLink, Start

_MOST_HELPERS: Final = 2


class Launcher:
    """Starts and signals process groups. An attempt belongs to one helper, chosen by its id; see Calls for the news.

    `on_lost` is called once when any helper is lost: all are then dropped, until `open_again`.
    """

    def __init__(self, calls: Calls, helpers: int | None = None) -> None:
        self._calls = calls
        ours = replace(calls, on_lost=self._one_lost, news_begins=self._hold, news_ends=self._let_go)
        self._links = [HelperLink(ours) for _ in range(helpers or helpers_for(len(os.sched_getaffinity(0))))]

    def open(self) -> None:
        """Start the helpers. Call this in the event loop."""
        for link in self._links:
            link.open()

    def start(self, order: Start) -> None:
        """Start a process: `on_started` or `on_failed` follows, then `on_ended`."""
        self._link(order.attempt_id).start(order)

    def signal(self, attempt_id: int, number: signal.Signals) -> None:
        """Signal an attempt: its first process, or with SIGKILL its whole group; has no effect if it has ended."""
        self._link(attempt_id).signal(attempt_id, number)

    def open_again(self) -> None:
        """Start new helpers after one was lost."""
        for link in self._links:
            link.open_again()

    async def close(self) -> None:
        """End every remaining process group, and the helpers."""
        await asyncio.gather(*(link.close() for link in self._links))

    def _link(self, attempt_id: int) -> HelperLink:
        return self._links[attempt_id % len(self._links)]

    def _hold(self) -> None:
        for link in self._links:
            link.is_held = True
        self._calls.news_begins()

    def _let_go(self) -> None:
        """Orders that result from the news are sent at once."""
        self._calls.news_ends()
        for link in self._links:
            link.is_held = False
            link.push()

    def _one_lost(self) -> None:
        for link in self._links:
            link.drop()
        self._calls.on_lost()


def helpers_for(cores: int) -> int:
    """The best number of helpers alongside the region and its jobs."""
    return max(1, min(_MOST_HELPERS, cores // 2))
