"""Stopping processes for a moment, so that their files can be looked at or copied as they are at one moment.

SIGSTOP can be neither caught nor seen by the process itself. A parent may be told of a child that stopped (SIGCHLD, and
`waitpid` with WUNTRACED); so parents are stopped before their children, and go on after them: by the time that a parent
can look, nothing is stopped any more. signal(7) names what remains: a few calls, such as epoll_wait, end with EINTR.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from spotbatch.runtime.process import process_tree

FREEZE_SECONDS = 0.2  # longest wait for processes to stop: one that waits for a device does not
_ROUNDS = 5  # whoever forks while we stop its parent is found in the next one
_STOPPED = "TtZX"
_lock = threading.RLock()  # one freezer at a time: nobody's thaw ends somebody else's moment


@contextmanager
def frozen(pids: Callable[[], Sequence[int]]) -> Iterator[bool]:
    """While the block runs, these processes (parents first) stand still. False: not all of them could be stopped."""
    with _lock:
        stopped: list[int] = []
        try:
            yield _stop_all(pids, stopped)
        finally:
            for pid in reversed(stopped):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGCONT)


def _stop_all(pids: Callable[[], Sequence[int]], stopped: list[int]) -> bool:
    """Stop what runs; what stood still before us is none of ours to wake."""
    give_up = time.monotonic() + FREEZE_SECONDS
    is_complete = True
    for _ in range(_ROUNDS):
        new = [pid for pid in pids() if pid not in stopped]
        running = [pid for pid in new if _state(pid) not in _STOPPED]
        if not running:
            break
        for pid in running:
            if pid == os.getpid():
                is_complete = False  # we cannot stand still and look
                continue
            try:
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
            except ProcessLookupError:
                continue
            except PermissionError:
                is_complete = False
        while any(_state(pid) not in _STOPPED for pid in stopped):
            if time.monotonic() >= give_up:
                return False
            time.sleep(0.0005)
        if not is_complete:
            return False
    return is_complete


def _state(pid: int) -> str:
    return process_tree.state_of(pid)
