"""How a launch template's user data affects its hosts: draining by the ECS agent, a fence around the jobs. Pure."""

import base64
import binascii
import re
from email import message_from_bytes
from functools import lru_cache
from typing import Final

# The agent parses it with Go's strconv.ParseBool, and does not drain without it (amazon-ecs-agent, README, "Environment
# Variables": ECS_ENABLE_SPOT_INSTANCE_DRAINING, default false).
_DRAINING: Final = re.compile(
    r"""^[^#\n]*\bECS_ENABLE_SPOT_INSTANCE_DRAINING\s*=\s*["']?(?P<value>\w+)""", re.MULTILINE
)
# systemd.resource-control(5): addresses denied to a slice. Containers run below ecstasks.slice.
_FENCE: Final = re.compile(r"^\s*IPAddressDeny\s*=[^\n]*\b169\.254\.169\.254\b", re.MULTILINE)
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})


def drains_on_notice(user_data: str) -> bool:
    """Whether hosts with this user data (plain, MIME, or base64 of either) get no new jobs after a notice."""
    said = [match["value"] for text in _texts(user_data) for match in _DRAINING.finditer(text)]
    return bool(said) and said[-1] in _TRUE


def reaches_metadata(user_data: str) -> bool:
    """Whether jobs on hosts with this user data can reach the instance metadata service: unless denied to them."""
    return not any(_FENCE.search(text) for text in _texts(user_data))


@lru_cache(maxsize=32)  # every launch and every notice asks, of a handful of launch templates
def _texts(user_data: str) -> tuple[str, ...]:
    """The scripts that cloud-init finds in it (cloud-init, "User data formats")."""
    raw = _decoded(user_data)
    message = message_from_bytes(raw)
    if not message.is_multipart():
        return (raw.decode("utf-8", "replace"),)
    parts = [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]
    return tuple(part.decode("utf-8", "replace") for part in parts if isinstance(part, bytes))


def _decoded(user_data: str) -> bytes:
    """EC2 takes and returns user data in base64; templates contain it in plain text below Fn::Base64."""
    try:
        return base64.b64decode("".join(user_data.split()), validate=True)
    except (binascii.Error, ValueError):
        return user_data.encode()
