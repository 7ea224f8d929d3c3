"""Listening on 127.0.0.1, and only there: for the local region and for the dashboard."""

import errno
import socket
from collections.abc import Sequence
from typing import Final

from spotbatch.batch.errors import Unavailable

HOST: Final = "127.0.0.1"


def bind(ports: Sequence[int], *, backlog: int) -> socket.socket:
    """A listening socket on the first of the ports that is free; 0 stands for any. Raises Unavailable if none is."""
    for port in ports:
        # With the protocol given, asyncio sets TCP_NODELAY on each connection; without it, a small response, which is
        # sent in two writes, waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(backlog)
        except OSError as error:
            listener.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            continue
        listener.setblocking(False)
        return listener
    raise Unavailable(f"port {ports[0]} of {HOST} is taken or not allowed: choose another with --port, or 0 for any")
