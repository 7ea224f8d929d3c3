"""The runtime's own lines, written to standard error alongside the command's."""

import sys
import threading

_last_said: dict[str, str] = {}
_lock = threading.Lock()


def say(text: str) -> None:
    """Log one line. Losing a log line must never end a command, so a closed or full standard error is ignored."""
    try:
        sys.stderr.write(f"spotrun: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


_VARYING = r"\d{6}-[0-9a-f]{6}-\d{6}|\d{6}-\d{8}-[0-9a-f]{6}|[\d.]+ s\b|RequestId: \S+|HostId: \S+"


def say_on_change(topic: str, text: str) -> None:
    """Log one line, unless the last line on this topic was the same: what repeats every second is logged once.

    Names of packs and manifests, durations and request ids change every time, and do not make a line different.
    """
    kind = _kind(text) if text else ""
    with _lock:
        if _last_said.get(topic, "") == kind:
            return
        _last_said[topic] = kind
    if text:
        say(text)


def _kind(text: str) -> str:
    import re  # 4 ms, which an attempt without trouble need not pay

    return re.sub(_VARYING, "", text)
