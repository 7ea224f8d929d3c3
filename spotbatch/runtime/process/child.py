"""A child process, started and reaped; without `subprocess`, whose import takes 5 ms of each start.

As there: the child's signals have their defaults where Python ignores them, it inherits no descriptor but its three
standard ones, and an error of the start is raised in the parent.
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from spotbatch.runtime.light_path import Path

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_ERROR_DESCRIPTOR = 3
Streams = tuple[int | None, int | None, int | None]


class Child:
    """A started process. Used by one thread."""

    def __init__(self, pid: int, argv: Sequence[str]) -> None:
        self.pid = pid
        self.argv = tuple(argv)
        self.returncode: int | None = None  # as `os.waitstatus_to_exitcode`: -n if signal n ended it

    def poll(self) -> int | None:
        """Its return code once it has ended; it is reaped then. 0 if somebody else has reaped it."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Does nothing once it has ended: its process id may be another's."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> int | None:
        """Wait until it has ended, up to this long; returns what `poll` does."""
        give_up = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < give_up:
            time.sleep(0.005)
        return self.returncode


def start(
    argv: Sequence[str],
    variables: Mapping[str, str],
    *,
    streams: Streams,
    folder: Path | None = None,
    first: Callable[[], object] | None = None,
) -> Child:
    """Start a program, looked for in the PATH of its variables.

    Args:
        streams: the descriptors that become its standard input, output and error; None: ours.
        folder: where it starts; None: here.
        first: called in the child before the program, and must take no locks.

    Raises:
        OSError: it cannot be started, as its `errno` and `filename` say.
        ValueError: an argument or a variable holds a NUL.
    """
    words, held = [os.fsencode(word) for word in argv], {os.fsencode(k): os.fsencode(v) for k, v in variables.items()}
    if any(b"\0" in text for text in (*words, *held, *held.values())):
        raise ValueError("embedded null byte")
    places = _places(words[0], held)
    read, write = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            _become(words, held, places, streams, folder, first, write)
        os.close(write)
        write = -1
        told = _read_all(read)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
    if told:
        os.waitpid(pid, 0)
        number, _, is_folder = told.decode().partition(" ")
        raise OSError(int(number), os.strerror(int(number)), os.fspath(folder) if is_folder and folder else argv[0])
    return Child(pid, argv)


def _places(program: bytes, variables: Mapping[bytes, bytes]) -> list[bytes]:
    """The files to try, in order, as execvp(3) finds them."""
    if b"/" in program:
        return [program]
    path = variables.get(b"PATH", os.fsencode(os.defpath))
    return [folder + b"/" + program if folder else program for folder in path.split(b":")]


def _become(
    words: list[bytes],
    variables: dict[bytes, bytes],
    places: list[bytes],
    streams: Streams,
    folder: Path | None,
    first: Callable[[], object] | None,
    error: int,
) -> None:
    """In the child. Never returns, and calls nothing of ours that another thread might have locked."""
    told = b""
    try:
        signal.set_wakeup_fd(-1)  # it is the parent's
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        error = _into_place(streams, error)
        _close_others()
        if folder is not None:
            told = b" folder"
            os.chdir(folder)
            told = b""
        if first is not None:
            first()
        problem: OSError = FileNotFoundError(errno.ENOENT, "")
        for place in places:
            try:
                os.execve(place, words, variables)  # noqa: S606 - the user's command, as it was given
            except OSError as error_here:  # a file that is there and cannot be run is the better reason
                if not isinstance(error_here, FileNotFoundError | NotADirectoryError):
                    problem = error_here
        raise problem  # noqa: TRY301 - reported below, like every other
    except BaseException as found:  # noqa: BLE001 - whatever it is, the parent must know that nothing was started
        os.write(error, str(getattr(found, "errno", None) or errno.ENOMEM).encode() + told)
    finally:
        os._exit(255)


def _into_place(streams: Streams, error: int) -> int:
    """Make them descriptors 0, 1 and 2, and the error pipe 3; none may overwrite another that is still needed."""
    wanted = {target: each for target, each in enumerate((*streams, error)) if each is not None}
    above = max(*wanted.values(), _ERROR_DESCRIPTOR) + 1
    moved = {target: os.dup2(each, above + target, inheritable=False) for target, each in wanted.items()}
    for target, each in moved.items():
        os.dup2(each, target, inheritable=target != _ERROR_DESCRIPTOR)
    return _ERROR_DESCRIPTOR


def _close_others() -> None:
    """Close what we inherited ourselves: our own descriptors are closed by the kernel at execve(2)."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            found = os.listdir(folder)  # noqa: PTH208 - names, not paths
        except OSError:
            continue
        for each in found:
            if each.isdecimal() and int(each) > _ERROR_DESCRIPTOR:
                with contextlib.suppress(OSError):  # the folder's own descriptor is closed by now
                    os.close(int(each))
        return


def _read_all(descriptor: int) -> bytes:
    data = b""
    while more := os.read(descriptor, 256):
        data += more
    return data
