"""Progress that the command reports in a file, published for `spotbatch watch`."""

import math
import time
from collections.abc import Callable

from spotbatch.batch.light_json import dumps
from spotbatch.runtime.light_path import Path

MOST_BYTES = 4096
FASTEST_SECONDS = 1.0
SLOWEST_SECONDS = 30.0  # a request costs money: an hour of reports is about 150 of them
_SHARE_OF_ELAPSED = 0.05


def read_progress(text: str) -> dict[str, object] | None:
    """`{"done": 3, "total": 10}`, or `3/10`, `3 10` or `30%` for shells; None for anything else."""
    import json  # 2 ms, which a command that reports nothing need not pay

    text = text.strip()
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if isinstance(said, dict):
        return _checked(said.get("done"), said.get("total"), str(said.get("text", "")))
    if text.endswith("%"):
        return _checked(text[:-1], 100)
    parts = text.replace("/", " ").split()
    return _checked(parts[0], parts[1]) if len(parts) == 2 else None


def _checked(done: object, total: object, text: str = "") -> dict[str, object] | None:
    try:
        a, b = float(str(done)), float(str(total))
    except ValueError:
        return None
    if not (math.isfinite(a) and math.isfinite(b)) or b <= 0 or a < 0:
        return None
    return {"done": a, "total": b, "text": text[:200]}


class Progress:
    """Publishes changes, less often the longer the attempt runs."""

    def __init__(self, file: Path, publish: Callable[[bytes], object], attempt: int) -> None:
        self._file = file
        self._publish = publish
        self._attempt = attempt
        self._began_at = time.monotonic()
        self._next_at = 0.0
        self._last: tuple[int, int] | None = None

    def tick(self, *, is_last: bool = False) -> None:
        """If it is time, look and publish any news."""
        now = time.monotonic()
        if now < self._next_at and not is_last:
            return
        try:
            found = self._file.stat()
            if (found.st_mtime_ns, found.st_ino) == self._last or found.st_size > MOST_BYTES:
                return
            said = read_progress(self._file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return
        pause_seconds = (now - self._began_at) * _SHARE_OF_ELAPSED
        self._next_at = now + min(max(pause_seconds, FASTEST_SECONDS), SLOWEST_SECONDS)
        self._last = (found.st_mtime_ns, found.st_ino)
        if said is not None:
            self._publish(dumps({**said, "at": found.st_mtime, "attempt": self._attempt}).encode())
