"""The runtime's own lines, on standard error beside the command's."""

import sys
import threading

_last_said: dict[str, str] = {}
_lock = threading.Lock()


def say(text: str) -> None:
    """One line. Losing a log line must never end a command, so a closed or full standard error is ignored."""
    try:
        sys.stderr.write(f"spotrun: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def say_on_change(topic: str, text: str) -> None:
    """One line, unless the last line about this topic said the same: what repeats every second is said once."""
    with _lock:
        if _last_said.get(topic) == text:
            return
        _last_said[topic] = text
    if text:
        say(text)
