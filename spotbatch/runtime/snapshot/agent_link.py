"""The connection to the host's agent. Every wait is bounded."""

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spotbatch.runtime.snapshot.refusal import NoSnapshot
from spotbatch.snapshots.protocol import (
    BEGIN_SECONDS,
    MOST_BYTES,
    MOST_FDS,
    SOCKET_NAME,
    UNAVAILABLE_NAME,
    decoded,
    encoded,
)

_SPARE_SECONDS = 2.0  # for an answer beyond the time that the agent was given


class AgentLink:
    """One connection. Closing it removes the images that the agent holds for us."""

    def __init__(self, host_folder: Path) -> None:
        """Connect to the agent whose socket lies in the notice's folder. Raises NoSnapshot."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(BEGIN_SECONDS)
        try:
            folder = os.open(host_folder, os.O_RDONLY | os.O_DIRECTORY)
            try:  # by an open folder, since a socket's path has at most 107 bytes (unix(7))
                self._socket.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
            finally:
                os.close(folder)
        except OSError as error:
            self._socket.close()
            raise NoSnapshot(_why_not(host_folder) or f"this host has no snapshot agent ({error.strerror})") from error

    def begin(self) -> None:
        """Reserve pids for a command that is about to start. Raises NoSnapshot."""
        self._ask({"do": "begin"}, BEGIN_SECONDS)

    def dump(self, pid: int, seconds: float) -> tuple[dict[str, Any], int]:
        """Dump a child and its descendants, which are left stopped; returns facts and the open folder of images.

        Raises:
            NoSnapshot: they run on as before, unless it says that they are broken.
        """
        answer, given = self._ask({"do": "dump", "pid": pid, "seconds": seconds}, seconds)
        if len(given) != 1:
            raise NoSnapshot("the agent sent no images", is_broken=True)
        return answer, given[0]

    def restore(self, images: int, pipes: Sequence[tuple[str, int]], seconds: float) -> dict[str, Any]:
        """Restore from an open folder, with these descriptors in place of the named pipes. Raises NoSnapshot."""
        request = {"do": "restore", "pipes": [name for name, _ in pipes], "seconds": seconds}
        return self._ask(request, seconds, [images, *(number for _, number in pipes)])[0]

    def close(self) -> None:
        self._socket.close()

    def _ask(
        self, request: dict[str, Any], seconds: float, descriptors: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        """Once asked, an agent that does not answer may be in the middle of it: the command counts as broken."""
        self._socket.settimeout(seconds + _SPARE_SECONDS)
        try:
            socket.send_fds(self._socket, [encoded(request)], list(descriptors))
            data, given, _, _ = socket.recv_fds(self._socket, MOST_BYTES, MOST_FDS)
            answer = decoded(data)
        except (OSError, ValueError) as error:
            raise NoSnapshot(f"the host's snapshot agent does not answer ({error})", is_broken=True) from error
        if answer.get("ok") is not True:
            raise NoSnapshot(str(answer.get("why", "no reason given")), is_broken=answer.get("broken") is True)
        return answer, given


def _why_not(host_folder: Path) -> str:
    try:
        return str(json.loads((host_folder / UNAVAILABLE_NAME).read_bytes())["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
