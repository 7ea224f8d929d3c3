"""Briefly stopping processes, so that their files can be inspected or copied in a state of one moment.

SIGSTOP can be neither caught nor noticed by the process itself. A parent may be notified of a stopped child (SIGCHLD,
and `waitpid` with WUNTRACED); so parents are stopped before their children, and resumed after them: by the time a
parent can look, nothing is stopped any more. signal(7) lists the exceptions: a few calls, such as epoll_wait, fail
with EINTR.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from spotbatch.runtime.process import process_tree

FREEZE_SECONDS = 0.2  # longest wait for processes to stop: one waiting for a device does not stop
_ROUNDS = 5  # a process forked while we stop its parent is found in the next round
_STOPPED = "TtZX"
_lock = threading.RLock()  # one freezer at a time: no thaw may end another's freeze


@contextmanager
def frozen(pids: Callable[[], Sequence[int]]) -> Iterator[bool]:
    """These processes (parents first) are stopped while the block runs. False: not all of them could be stopped."""
    with _lock:
        stopped: list[int] = []
        try:
            yield _stop_all(pids, stopped)
        finally:
            for pid in reversed(stopped):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGCONT)


@contextmanager
def alone() -> Iterator[None]:
    """Nobody else stops or resumes processes while the block runs."""
    with _lock:
        yield


def _stop_all(pids: Callable[[], Sequence[int]], stopped: list[int]) -> bool:
    """Stop what is running; processes that were already stopped are not ours to resume."""
    give_up = time.monotonic() + FREEZE_SECONDS
    is_complete = True
    for _ in range(_ROUNDS):
        new = [pid for pid in pids() if pid not in stopped]
        running = [pid for pid in new if _state(pid) not in _STOPPED]
        if not running:
            break
        for pid in running:
            if pid == os.getpid():
                is_complete = False  # we cannot freeze them and look
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
