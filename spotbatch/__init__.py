"""spotbatch: container batch work on AWS at the lowest cost, on Spot, without babysitting.

`from spotbatch import Client` is the Python client; docs/python.md shows it. The import itself takes milliseconds.
"""

from spotbatch.batch.light_types import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spotbatch.batch.errors import (
        BrokenInvariant,
        InvalidInput,
        InvalidJob,
        JobFailed,
        NotFound,
        SpotbatchError,
        Unavailable,
    )
    from spotbatch.batch.job import JobRequest
    from spotbatch.client import Client, Run

__version__ = "0.1.0"
__all__ = [
    "Client",
    "Run",
    "JobRequest",
    "SpotbatchError",
    "InvalidInput",
    "InvalidJob",
    "NotFound",
    "Unavailable",
    "JobFailed",
    "BrokenInvariant",
]

_HOMES = {"Client": "spotbatch.client", "Run": "spotbatch.client", "JobRequest": "spotbatch.batch.job"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import spotbatch` itself takes only milliseconds."""
    if name not in __all__:
        raise AttributeError(f"module 'spotbatch' has no attribute {name!r}")
    from importlib import import_module  # some ms, which every container start would pay

    return getattr(import_module(_HOMES.get(name, "spotbatch.batch.errors")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
