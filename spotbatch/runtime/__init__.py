"""The runtime inside the container (`spotrun -- command`), and what a Python program may say to it."""

from spotbatch.runtime.program import checkpoint, heartbeat, interrupted, progress

__all__ = ["checkpoint", "heartbeat", "interrupted", "progress"]
