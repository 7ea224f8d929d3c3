"""Where a command acts: on AWS according to the settings, or in the local region (--local, SPOTBATCH_LOCAL=1).

The choice becomes the process's AWS settings, the same that `eval "$(spotbatch local env)"` would export: there is no
separate code path for local use, and a program started from here uses the same place.
"""

import os
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Final

from spotbatch.batch.errors import SpotbatchError, Unavailable

if TYPE_CHECKING:
    from spotbatch.aws.session import Connection
    from spotbatch.local.region_file import RegionInfo

LOCAL_VARIABLE: Final = "SPOTBATCH_LOCAL"
_OFF: Final = frozenset({"", "0", "false", "no", "off"})
# Settings that would override the local region's own, or would be sent with them.
_IN_THE_WAY: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)


def wants_local(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Whether SPOTBATCH_LOCAL selects the local region."""
    return environ.get(LOCAL_VARIABLE, "").strip().lower() not in _OFF


def running_region() -> "RegionInfo":
    """The running local region. Raises NotFound or Unavailable with the command that starts it."""
    from spotbatch.local import region_file

    home = region_file.default_home()
    info = region_file.read(home)
    if not region_file.is_alive(info):
        raise Unavailable(f"the local region in {home} has stopped: start it with `{region_file.command('up', home)}`")
    return info


def local_vcpus() -> tuple[int, int | None] | None:
    """vCPUs of the local region's hosts, and its quota (None: no limit); None if it cannot be queried."""
    from spotbatch.local.client import RegionClient

    try:
        return RegionClient(info=running_region()).vcpus()
    except SpotbatchError:
        return None  # an older region does not report it, and one behind AWS_ENDPOINT_URL has no file here


def use_local(environ: MutableMapping[str, str] = os.environ) -> None:
    """Point this process's AWS settings at the running local region. Raises like `running_region`."""
    info = running_region()
    for name in list(environ):
        if name in _IN_THE_WAY or name.startswith("AWS_ENDPOINT_URL_"):
            del environ[name]
    environ.update(info.environment())
    environ[LOCAL_VARIABLE] = "1"


def use_profile(profile: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Work with a profile of the AWS configuration."""
    environ["AWS_PROFILE"] = profile
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environ.pop(name, None)  # boto3 would prefer these to the profile


def use_region(region: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Work in an AWS region."""
    environ["AWS_REGION"] = environ["AWS_DEFAULT_REGION"] = region


def local_connection() -> "Connection":
    """A connection to the running local region, whatever the AWS settings. Raises like `running_region`."""
    from spotbatch.aws import session  # `spotbatch --help` imports this module, and needs no AWS

    info = running_region()
    return session.connection_to(
        info.endpoint, region=info.region, access_key=info.access_key, secret_key=info.secret_key
    )
