"""Who may talk to the region at all: refuses foreign Host headers and other origins' pages before reading anything.

SubmitJob runs code. A page in a browser must not reach it, either by posting to localhost or by DNS rebinding.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from spotbatch.local.api.http import Head, HttpError

_LOCAL_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


def check(head: Head, port: int) -> None:
    """Raises HttpError for a request that names another host, or that was sent by another origin's page."""
    hosts = head.headers_named("host")
    if len(hosts) != 1 or not _is_local(hosts[0], port):
        raise HttpError(403, f"Host must be 127.0.0.1:{port} or localhost:{port}, not {', '.join(hosts)[:200]!r}")
    for origin in head.headers_named("origin"):
        parts = _split(origin)
        if parts is None or not _is_local(parts, port):
            raise HttpError(403, f"requests from pages of other origins are refused: {origin[:200]!r}")
    if head.header("sec-fetch-site") in ("cross-site", "same-site"):
        raise HttpError(403, "requests from pages of other sites are refused")


def _split(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_local(host: str, port: int) -> bool:
    name, _, given = host.rpartition(":")
    if not given.isdigit() or int(given) != port:
        return False
    # RFC 6761: names below localhost belong to this machine too; S3 clients prefix them with the bucket.
    return name in _LOCAL_NAMES or name.endswith(".localhost")


def bearer_check(head: Head, is_secret: Callable[[str], bool]) -> None:
    """Raises HttpError unless the region's secret key is in the Authorization header."""
    scheme, _, token = head.header("authorization").partition(" ")
    if scheme.lower() != "bearer" or not is_secret(token):
        raise HttpError(401, "the region's own API wants `Authorization: Bearer <secret key>`")
