"""The listening socket: loopback only, the port asked for, and connections without Nagle's delay."""

import asyncio
import contextlib
import socket

import pytest

from spotbatch.batch.errors import Unavailable
from spotbatch.loopback import bind


def test_a_connection_does_not_wait_for_acknowledgements() -> None:
    async def nodelay_of_an_accepted_connection() -> int:
        accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        with contextlib.closing(bind([0], backlog=5)) as listener:
            server = await asyncio.start_server(lambda _reader, writer: accepted.put_nowait(writer), sock=listener)
            _, ours = await asyncio.open_connection(*listener.getsockname())
            theirs = await asyncio.wait_for(accepted.get(), 10)
            option: int = theirs.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for writer in (ours, theirs):
                writer.close()
                await writer.wait_closed()
            server.close()
            await server.wait_closed()
            return option

    assert asyncio.run(nodelay_of_an_accepted_connection()) != 0


def test_the_preferred_port_is_taken_only_if_it_is_free() -> None:
    with contextlib.closing(bind([0], backlog=5)) as first:
        port = first.getsockname()[1]
        with contextlib.closing(bind([port, 0], backlog=5)) as second:
            assert second.getsockname()[0] == "127.0.0.1"
            assert second.getsockname()[1] != port
        with pytest.raises(Unavailable, match=f"port {port}"):
            bind([port], backlog=5)
    with contextlib.closing(bind([port, 0], backlog=5)) as again:
        assert again.getsockname()[1] == port
