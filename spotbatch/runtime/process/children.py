"""Children of the runtime other than the command: health commands and hooks, started and reaped in one place."""

import contextlib
import os
from collections.abc import Mapping, Sequence

from spotbatch.runtime.process.child import Child, start

_known: dict[int, Child] = {}  # by process id; used by the main thread only


def start_child(argv: Sequence[str], variables: Mapping[str, str]) -> Child:
    """Start a child; the caller polls it, and `reap_all` reaps it in any case."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        child = start(argv, variables, streams=(nothing, None, None))
    finally:
        os.close(nothing)
    _known[child.pid] = child
    return child


def reap_all(command: Child) -> None:
    """Reap every child that has ended: the command, our own, and orphans, which fall to us as PID 1 or subreaper.

    Each is first checked without being reaped, so that its owner's exit code is never thrown away.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        owner = command if ended.si_pid == command.pid else _known.pop(ended.si_pid, None)
        if owner is not None and owner.returncode is None:
            owner.poll()
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(ended.si_pid, os.WNOHANG)
