"""The user's command as a child: started, signalled, reaped, with its output passed on and its last lines kept."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say
from spotbatch.runtime.process import process_tree
from spotbatch.runtime.process.child import Child, start
from spotbatch.runtime.process.children import reap_all

EXIT_CANNOT_RUN = 126  # found, but not executable: the convention of shells, env(1) and Docker
EXIT_NOT_FOUND = 127
LAST_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Command:
    """A running command. Used by the main thread only: it alone reaps children."""

    def __init__(
        self,
        argv: Sequence[str],
        variables: Mapping[str, str],
        folder: Path | None = None,
        *,
        is_dumpable: bool = False,
    ) -> None:
        """Start it in a folder (None: the current one). `is_dumpable`: in a session of its own, without our standard
        input, and without a signal at our end, which would follow it into a restore. We are PID 1: it ends with us.

        Raises:
            FileNotFoundError, PermissionError, OSError: it cannot be started.
        """
        _adopt_orphans()
        pipes = [(*os.pipe(), target) for target in ((1,) if _is_same_file(1, 2) else (1, 2))]
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if is_dumpable else None
        streams = (nothing, pipes[0][1], pipes[-1][1])
        try:
            first = os.setsid if is_dumpable else _die_with_parent if sys.platform == "linux" else None
            child = start(argv, variables, streams=streams, folder=folder, first=first)
        except BaseException:
            for read, _, _ in pipes:
                os.close(read)
            raise
        finally:
            for _, write, _ in pipes:
                os.close(write)
            if nothing is not None:
                os.close(nothing)
        self._attend(child, [(read, target) for read, _, target in pipes])

    @classmethod
    def restored(cls, pid: int, argv: Sequence[str], streams: Sequence[tuple[int, int]]) -> "Command":
        """A command that was restored as our child; `streams` are the ends that its output is read from, and where
        each is passed on to.
        """
        _adopt_orphans()
        command = cls.__new__(cls)
        command._attend(Child(pid, argv), streams)  # noqa: SLF001 - its own class
        return command

    def _attend(self, child: Child, streams: Sequence[tuple[int, int]]) -> None:
        self.tail = Tail()
        self._child = child
        self._streams = tuple(streams)
        self._pumps = [threading.Thread(target=self.tail.pump, args=each, daemon=True) for each in streams]
        for pump in self._pumps:
            pump.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def pipes(self) -> list[tuple[str, int]]:
        """Its output's pipes, as /proc names them, and where each is passed on to."""
        return [(f"pipe:[{os.fstat(source).st_ino}]", target) for source, target in self._streams]

    def poll(self) -> int | None:
        """The exit code once it has ended; 128 + n if signal n ended it, as in shells."""
        code = self._child.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def died_of(self) -> int | None:
        """The signal that ended it, if any."""
        code = self._child.returncode
        return -code if code is not None and code < 0 else None

    def send(self, number: int) -> None:
        """To the command itself, as `docker stop` does; once it has ended, to what it left running."""
        if self._child.poll() is None:
            self._child.send_signal(number)
            return
        _signal_all(self.members(), number)

    def send_all(self, number: int) -> None:
        """To the command and all its descendants."""
        _signal_all(self.members(), number)

    def kill(self) -> None:
        """SIGKILL to all our descendants until none is left; those forked meanwhile are caught in the next round."""
        for _ in range(100):
            living = self.members()
            if not living:
                return
            _signal_all(living, signal.SIGKILL)
            self.reap()
            time.sleep(0.01)
        say(f"still there after SIGKILL: {[member.pid for member in self.members()]}")

    def members(self) -> list[process_tree.Member]:
        """All our living descendants: we adopt orphans."""
        return [member for member in self.descendants() if member.state != "Z"]

    def descendants(self) -> list[process_tree.Member]:
        """The same, plus those that have ended but have not been reaped by their parent."""
        return process_tree.members(os.getpid())

    def pids(self) -> list[int]:
        return [member.pid for member in self.members()]

    def reap(self) -> None:
        """Reap ended orphans, which fall to us as PID 1 or subreaper, and the command itself."""
        reap_all(self._child)

    def drain(self, seconds: float) -> None:
        """Wait until all output has been passed on."""
        give_up = time.monotonic() + seconds
        for pump in self._pumps:
            pump.join(max(0.0, give_up - time.monotonic()))


class Tail:
    """Passes output on as it arrives and keeps the end of it."""

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def pump(self, source: int, target: int) -> None:
        while True:
            try:
                data = os.read(source, 65536)
            except OSError:
                return
            if not data:
                return
            self._keep(data)
            _write_all(target, data)

    def text(self) -> bytes:
        with self._lock:
            return b"".join(self._kept)[-LAST_BYTES:]

    def _keep(self, data: bytes) -> None:
        with self._lock:
            self._kept.append(data)
            self._size += len(data)
            while self._size - len(self._kept[0]) >= LAST_BYTES:
                self._size -= len(self._kept.popleft())


def _write_all(target: int, data: bytes) -> None:
    """Output that nobody reads any more is dropped: the command must not block on its log."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(target, left) :]
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return


def _signal_all(members: Sequence[process_tree.Member], number: int) -> None:
    for member in members:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member.pid, number)


def _is_same_file(one: int, other: int) -> bool:
    """Whether standard output and error are the same file: then a single pipe preserves their order."""
    try:
        a, b = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _prctl_function() -> Callable[..., object]:
    """prctl(2). `ctypes` takes 2 ms to import; its core, which each Python with `ctypes` has, a quarter of that."""
    try:
        import _ctypes

        call = _ctypes.call_function
        loaded = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None: what is loaded already
        address = _ctypes.dlsym(loaded, "prctl")
    except (ImportError, AttributeError, OSError):
        import ctypes

        found: Callable[..., object] = ctypes.CDLL(None).prctl
        return found
    return lambda *numbers: call(address, numbers)


_prctl = _prctl_function() if sys.platform == "linux" else None


def _adopt_orphans() -> None:
    """Become the parent of what the command leaves behind, even when we are not PID 1."""
    if _prctl is not None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent() -> None:
    """One system call, no locks."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
