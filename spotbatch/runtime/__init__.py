"""The runtime inside the container (`spotrun -- command`), and what a Python program can call in it."""

from spotbatch.batch.light_types import TYPE_CHECKING

if TYPE_CHECKING:
    from spotbatch.runtime.api import checkpoint, heartbeat, interrupted, progress

__all__ = ["checkpoint", "heartbeat", "interrupted", "progress"]


def __getattr__(name: str) -> object:
    """Import the program's API on first use: spotrun itself must hold signals before all other imports."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from spotbatch.runtime import api

    found: object = getattr(api, name)
    globals()[name] = found
    return found
