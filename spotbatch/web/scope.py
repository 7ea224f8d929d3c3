"""Which queue and stack the dashboard is about, and where that is."""

from dataclasses import dataclass

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.price_cache import region_name
from spotbatch.runs import endpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What the user named, or left open."""

    queue: str | None = None  # whose runs are listed; None: those that are named only
    stack: str | None = None


def connect() -> Jobs:
    """A client for where the settings point now: a local region may have come back at another port.

    Raises NotFound or Unavailable where the local region that is wanted does not run.
    """
    if endpoint.wants_local():
        endpoint.use_local()
    return Jobs()


def place_name() -> str:
    """Where the jobs are, in words."""
    return "local region" if session.is_local() else f"AWS {region_name()}"
