"""Queries a body: whole, on disk once it is large, within a limit, and not for ever."""

import asyncio
import hashlib
import io
from collections.abc import Callable, Sequence

import pytest

from spotbatch.local.api import http
from spotbatch.local.api.http import Body, Head, HttpError, Message, read_body

HEAD = Head(method="PUT", raw_path="/", query="", headers=[])


def receiver(chunks: Sequence[bytes], *, ends: bool = True) -> Callable[[], "asyncio.Future[Message]"]:
    """ASGI's receive for these chunks; without `ends` nothing comes after them."""
    left = list(chunks)

    async def receive() -> Message:
        if not left:
            await asyncio.get_running_loop().create_future()
        chunk = left.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(left) or not ends}

    return receive  # type: ignore[return-value]  # a coroutine function, as ASGI wants


def body_of(chunks: Sequence[bytes], *, limit: int = 10_000_000, head: Head = HEAD, ends: bool = True) -> Body:
    return asyncio.run(read_body(head, receiver(chunks, ends=ends), limit=limit, stall_seconds=0.05))


@pytest.mark.parametrize("chunks", [[b""], [b"ab", b"", b"c"], [b"x" * 700_000, b"y" * 700_000]])
@pytest.mark.parametrize("spool", [1 << 20, 16 << 20])
def test_a_body_is_whole_and_hashed_in_memory_and_on_disk(
    chunks: list[bytes], spool: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_SPOOL_BYTES", spool)
    body = body_of(chunks)
    content = b"".join(chunks)
    assert isinstance(body.file, io.BytesIO) == (len(content) <= spool)
    with body.file:
        assert body.read() == content
        assert body.read() == content  # from the beginning again
    assert (body.length, body.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(HttpError, match="10 bytes") as refused:
        body_of([b"123456", b"78901"], limit=10)
    assert refused.value.status == 413


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    head = Head(method="PUT", raw_path="/", query="", headers=[("content-length", "11")])
    with pytest.raises(HttpError, match="not 11"):
        body_of([], limit=10, head=head)


def test_a_body_that_stalls_is_given_up() -> None:
    with pytest.raises(HttpError, match="too slowly") as refused:
        body_of([b"begun"], ends=False)
    assert refused.value.status == 408


def test_a_body_that_only_trickles_is_given_up_though_it_never_stalls() -> None:
    async def trickle() -> Message:
        await asyncio.sleep(0.01)  # each byte within the time allowed for one
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(HttpError, match="too slowly"):
        asyncio.run(read_body(HEAD, trickle, limit=10_000_000, stall_seconds=0.2))
