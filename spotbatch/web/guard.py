"""Who may see the dashboard: only a browser on this machine with the link, and no page from another origin.

The page shows logs and job definitions; with `--actions` it ends jobs. It must not be reachable through a DNS
name that points at 127.0.0.1 (Host is checked), from pages elsewhere (Origin and Sec-Fetch-Site are checked), or by
other users of this machine: the printed link has a key, which becomes a cookie.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL_NAMES: Final = ("127.0.0.1", "localhost")
_FOREIGN: Final = frozenset({"cross-site", "same-site"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer Chromium sends `Origin: null` along with our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """The secret of one server start."""

    secret: str

    @property
    def csrf_token(self) -> str:
        """The token in every form: derived from the key, but not the key itself."""
        return hmac.new(self.secret.encode(), b"csrf", hashlib.sha256).hexdigest()

    def is_secret(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.secret.encode())

    def is_csrf_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.csrf_token.encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """The outermost layer of the application."""

    app: ASGIApp
    port: int
    key: Key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        answer = self._refusal(scope["method"], headers) or self._without_cookie(scope, headers)
        if answer is not None:
            return await answer(scope, receive, _with_headers(send))
        return await self.app(scope, receive, _with_headers(send))

    def _refusal(self, method: str, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._authorities:
            return _refused(f"Host must be 127.0.0.1:{self.port} or localhost:{self.port}")
        origins = headers.getlist("origin")
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return _refused("requests from pages of other origins are refused")
        if headers.get("sec-fetch-site") in _FOREIGN:
            return _refused("requests from pages of other sites are refused")
        if method not in _SAFE_METHODS and not origins:
            return _refused("a request that changes something must say its Origin")
        return None

    @property
    def _authorities(self) -> Sequence[str]:
        return [f"{name}:{self.port}" for name in _LOCAL_NAMES]

    @property
    def _cookie_name(self) -> str:
        return f"spotbatch-{self.port}"  # a browser sends cookies to every port of a host

    def _without_cookie(self, scope: Scope, headers: Headers) -> Response | None:
        """None if the browser has the cookie; otherwise set it from the link's key, or refuse the request."""
        if self.key.is_secret(self._cookie(headers)):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("key", "")
        if scope["method"] != "GET" or not self.key.is_secret(given):
            return _refused("open the link that `spotbatch dashboard` printed: it has this dashboard's key")
        rest = urlencode([(name, value) for name, value in query if name != "key"])
        path = "/" + urlsplit(scope["path"]).path.lstrip("/")
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
        answer.set_cookie(self._cookie_name, self.key.secret, httponly=True, samesite="strict")
        return answer

    def _cookie(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie_name)
        except CookieError:
            return ""
        return found.value if found is not None else ""


def _refused(why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=403)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
