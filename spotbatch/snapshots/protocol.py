"""What the runtime in a container and the agent on its host say to each other. Pure: both sides import it.

A Unix socket of type SOCK_SEQPACKET in the folder of the interruption notice, one connection per attempt at something.
Each message is one JSON object; file descriptors travel beside it (SCM_RIGHTS). Requests: `begin`, `dump`, `restore`,
with their arguments; the answer has `ok`, and if that is false `why`. The agent knows who asks from the kernel
(SO_PEERCRED), never from the message.
"""

from __future__ import annotations

import json
from typing import Any

SOCKET_NAME = "snapshots.sock"  # in the notice's folder
UNAVAILABLE_NAME = "snapshots.json"  # beside it, {"why": ...}: this host has no agent, for this reason
MOST_BYTES = 65536  # of one message
MOST_FDS = 4
FIRST_PID = 20000  # a command's pids are above this, and those of a container's first processes are below
SEAL_NAME = "sealed.json"  # the agent's signature over the images, in their folder
BEGIN_SECONDS = 10.0  # longest wait for the answer to `begin`


def encoded(message: dict[str, Any]) -> bytes:
    """A message as it is sent. Texts are cut so that it fits."""
    return json.dumps(message).encode()[:MOST_BYTES]


def decoded(data: bytes) -> dict[str, Any]:
    """A message as it was received. Raises ValueError if it is not one."""
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - a message's content, not an argument's type
    return found


def refusal(why: str, *, is_broken: bool = False) -> dict[str, Any]:
    """The answer that says no. `is_broken`: the command may have been damaged, and must not run on."""
    return {"ok": False, "why": why[:2000], "broken": is_broken}
