"""Which queue and stack the dashboard covers, and where they are."""

from dataclasses import dataclass

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.price_cache import region_name
from spotbatch.runs import endpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What the user specified, or left open."""

    queue: str | None = None  # whose runs are listed; None: only those that are named
    stack: str | None = None


def connect() -> Jobs:
    """A client for where the settings point now: a local region may have restarted on another port.

    Raises NotFound or Unavailable if the requested local region is not running.
    """
    if endpoint.wants_local():
        endpoint.use_local()
    return Jobs()


def place_name() -> str:
    """Where the jobs are, in words."""
    return "local region" if session.is_local() else f"AWS {region_name()}"
