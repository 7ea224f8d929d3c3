"""What a Python program may call to work with the runtime; everything also works, silently, without it."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from spotbatch.batch import environment as env

_HEARTBEAT_SECONDS = 0.5  # reporting more often adds nothing
_PROGRESS_SECONDS = 0.2

_stop = threading.Event()
_last: dict[str, float] = {}


def interrupted() -> bool:
    """Whether the program must end soon: save your state and exit, with any exit code but 0.

    The first call, from the main thread, takes over SIGTERM (unless the program handles it itself): so call it once
    before the work begins.
    """
    if "handler" not in _last and threading.current_thread() is threading.main_thread():
        _last["handler"] = 1.0
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _note_stop)
    if not _stop.is_set() and (file := _file(env.SPOTBATCH_INTERRUPTED_FILE)) is not None and file.exists():
        _stop.set()
    return _stop.is_set()


def heartbeat() -> None:
    """Report that the program is alive and making progress. Cheap enough for an inner loop."""
    if _is_due("heartbeat", _HEARTBEAT_SECONDS) and (file := _file(env.SPOTBATCH_HEARTBEAT_FILE)) is not None:
        with contextlib.suppress(OSError):  # a full disk is no reason to end the program
            file.touch()


def progress(done: float, total: float, text: str = "") -> None:
    """Report the program's progress, in any unit; `spotbatch watch` shows a bar and an estimate. Also a heartbeat."""
    heartbeat()
    if done < total and not _is_due("progress", _PROGRESS_SECONDS):
        return
    if (file := _file(env.SPOTBATCH_PROGRESS_FILE)) is not None:
        with contextlib.suppress(OSError):
            _write(file, json.dumps({"done": done, "total": total, "text": text, "at": time.time()}).encode())


class Checkpoint:
    """The checkpoint folder. At the program's start it contains what the last attempt saved."""

    @property
    def folder(self) -> Path:
        """The folder; without the runtime, `checkpoint` in the program's current folder."""
        folder = _file(env.SPOTBATCH_CHECKPOINT_DIR) or Path("checkpoint")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None if it does not exist yet."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file atomically: nobody ever sees a partial one."""
        _write(self.folder / name, data)

    @contextmanager
    def open(self, name: str, mode: str = "wb") -> Iterator[IO[Any]]:
        """A file to write that replaces the original when the block succeeds, and is discarded when it fails."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with beside.open(mode) as file:
                yield file
            beside.replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()

    def save(self, wait_seconds: float = 60.0) -> bool:
        """Publish the folder now, as it is. True: the store has all of it, as of the call.

        False if not all of it could be saved (the log says which file, and why), if the store did not accept it in
        time, if this disk is full, and without the runtime. Files open for writing are copied as they are: flush
        anything that must be included. Several processes or threads may call it at once: each gets the result of a
        save that began after its call.
        """
        request, done = _file(env.SPOTBATCH_SAVE_REQUEST_FILE), _file(env.SPOTBATCH_SAVE_DONE_FILE)
        if request is None or done is None:
            return False
        number = max(_number(request), abs(_number(done)), time.time_ns()) + 1  # by the clock: no two callers share one
        try:
            _write(request, str(number).encode())
        except OSError:  # full disk: the request cannot be made
            return False
        give_up, pause_seconds = time.monotonic() + wait_seconds, 0.01
        while abs(_number(done)) < number:
            if time.monotonic() >= give_up:
                return False
            time.sleep(pause_seconds)
            if _number(request) < number:
                with contextlib.suppress(OSError):
                    _write(request, str(number).encode())  # another caller's smaller number overwrote it
            pause_seconds = min(pause_seconds * 1.5, 0.2)
        return _number(done) > 0  # negative: the number of a save that lacks something


checkpoint = Checkpoint()


def _note_stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    _stop.set()


def _file(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _is_due(what: str, seconds: float) -> bool:
    now = time.monotonic()
    if now - _last.get(what, -seconds) < seconds:
        return False
    _last[what] = now
    return True


def _write(file: Path, data: bytes) -> None:
    beside = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    beside.write_bytes(data)
    beside.replace(file)


def _number(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
