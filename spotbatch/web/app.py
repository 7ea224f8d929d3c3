"""The routes: pages, their updates as server-sent events, static files and, with `--actions`, two form handlers."""

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import parse_qs, quote, unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from spotbatch.batch.errors import NotFound, SpotbatchError
from spotbatch.web import actions
from spotbatch.web.choice import CHILD_ORDERS, NO_CHOICE, RUN_ORDERS, TREND_ORDERS, Choice, choice_of
from spotbatch.web.guard import Guard, Key
from spotbatch.web.poller import Poller
from spotbatch.web.render import COMPARED, ROOT, SCRIPTS, Pages, page_url
from spotbatch.web.run_units import run_units
from spotbatch.web.several_logs import ANY
from spotbatch.web.state import State
from spotbatch.web.target import Target

_ORDERS: Final = {"list": RUN_ORDERS, "trends": TREND_ORDERS}
_STATIC: Final = {"dashboard.css": "text/css", **dict.fromkeys(SCRIPTS, "text/javascript")}
_ICON: Final = (  # a heat map, one child of which waits
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3.5" fill="#1f6f54"/>'
    '<path d="M4 5h3v3H4zM9 5h3v3H9zM4 10h3v2H4z" fill="#fff"/><path d="M9 10h3v2H9z" fill="#f0b544"/></svg>'
)
_LOOK_SECONDS: Final = 0.4  # between checks of the state's version
_REFRESH_SECONDS: Final = 5.0  # "3 min ago" becomes outdated even when nothing happens
_MOST_LISTENERS: Final = 64
_LONGEST_FORM: Final = 4096
_LONGEST_ID: Final = 300
_SAID_KEPT: Final = 50
_LONGEST_INDEXES: Final = 100  # characters
_LONGEST_NUMBER: Final = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Dashboard:
    """What the routes share."""

    state: State
    poller: Poller
    pages: Pages
    key: Key
    may_act: bool
    is_closing: Callable[[], bool]
    home: str = ""  # where / leads, if not to the list

    def application(self, port: int) -> ASGIApp:
        """The whole application, wrapped in its guard."""
        routes = [
            Route("/", self.list_page),
            Route("/trends", self.trends_page),
            Route("/compare", self.compare),
            Route("/runs/{id}", self.run_page),
            Route("/jobs/{id}", self.job_page),
            Route("/jobs/{id}/child", partial(self.child, kind="jobs")),
            Route("/runs/{id}/child", partial(self.child, kind="runs")),
            Route("/jobs/{id}/logs", self.logs_page),
            Route("/runs/{id}/logs", partial(self.logs_page, kind="runs")),
            Route("/live/jobs/{id}/logs", partial(self.live, kind="jobs", has_children=True)),
            Route("/live/runs/{id}/logs", partial(self.live, kind="runs", has_children=True)),
            Route("/live", self.live),
            Route("/live/trends", partial(self.live, kind="trends")),
            Route("/live/jobs/{id}", partial(self.live, kind="jobs")),
            Route("/live/runs/{id}", partial(self.live, kind="runs")),
            Route("/static/{name}", static),
        ]
        if self.may_act:
            routes += [
                Route(f"/{kind}/{{id}}/{action}", partial(self.act, kind=kind, do=do), methods=["POST"])
                for kind in ("jobs", "runs")
                for action, do in (("cancel", self._stop), ("retry", self._again))
            ]
        return Guard(app=Starlette(routes=routes), port=port, key=self.key)

    # ---- pages ----

    async def list_page(self, request: Request) -> Response:
        if self.home:
            return RedirectResponse(self.home, status_code=303)
        return await self._page(_target(request, "list"), _choice(request, "list"))

    async def trends_page(self, request: Request) -> Response:
        return await self._page(_target(request, "trends"), _choice(request, "trends"))

    async def run_page(self, request: Request) -> Response:
        return await self._page(_target(request, "runs"), _choice(request, "runs"))

    async def job_page(self, request: Request) -> Response:
        return await self._page(_target(request, "jobs"), _choice(request, "jobs"))

    async def logs_page(self, request: Request, kind: str = "jobs") -> Response:
        """The logs of several children together: ?children=3,17."""
        return await self._page(_with_children(request, _target(request, kind)), NO_CHOICE)

    async def compare(self, request: Request) -> Response:
        """Two runs side by side: ?a=/runs/x&b=/jobs/y."""
        wanted = {name: target for name in COMPARED if (target := _named(request.query_params.get(name, "")))}
        try:
            for target in [Target(kind="list"), *wanted.values()]:
                await run_in_threadpool(self.poller.load, target)
            for target in wanted.values():
                await run_in_threadpool(self.poller.load_account, target)
        except SpotbatchError as error:
            return PlainTextResponse(f"{error}\n", status_code=404)
        return HTMLResponse((await run_in_threadpool(self.pages.compare_page, wanted)).html)

    async def child(self, request: Request, kind: str) -> Response:
        """The form beside a heat map: leads to the page of the child that stands for a run index."""
        index = request.query_params.get("index", "")
        if not _is_number(index):
            return PlainTextResponse("index must be a number\n", status_code=400)
        target = _target(request, kind)
        try:
            await run_in_threadpool(self.poller.load, target)
        except SpotbatchError as error:
            return PlainTextResponse(f"{error}\n", status_code=404)
        with self.state.lock:
            unit_id = run_units(self.state.members(target)).unit_id(int(index))
        if unit_id is None:
            return PlainTextResponse(f"{target.id} has no child {int(index)}\n", status_code=404)
        return RedirectResponse(f"/jobs/{quote(unit_id, safe=':')}", status_code=303)

    async def _page(self, target: Target, choice: Choice) -> Response:
        try:
            await run_in_threadpool(self.poller.load, target)
        except NotFound as error:
            return PlainTextResponse(f"{error}\n", status_code=404)
        except SpotbatchError as error:
            return PlainTextResponse(f"{error}\n", status_code=400)
        page = await run_in_threadpool(self.pages.page, target, choice)
        return HTMLResponse(page.html)

    # ---- updates ----

    async def live(self, request: Request, kind: str = "list", has_children: bool = False) -> Response:
        """Updates for one page, as long as the browser listens."""
        if sum(self.state.watched.values()) >= _MOST_LISTENERS:
            return PlainTextResponse(f"{_MOST_LISTENERS} pages are open already\n", status_code=503)
        target = _with_children(request, _target(request, kind)) if has_children else _target(request, kind)
        with contextlib.suppress(SpotbatchError):  # the page itself reports what is wrong
            await run_in_threadpool(self.poller.load, target)
        return StreamingResponse(self._news(target, _choice(request, kind)), media_type="text/event-stream")

    async def _news(self, target: Target, choice: Choice) -> AsyncIterator[str]:
        sent: dict[str, str] = {}
        self._watch(target, 1)
        try:
            yield "retry: 1000\n\n"
            while not self.is_closing():
                version = self.state.version
                regions = await run_in_threadpool(self.pages.regions, target, choice)
                news = {name: html for name, html in regions.items() if sent.get(name) != html}
                sent = regions
                yield f"data: {json.dumps(news)}\n\n" if news else ": nothing new\n\n"
                await self._until_changed(version)
        finally:
            self._watch(target, -1)

    async def _until_changed(self, version: int) -> None:
        waited = 0.0
        while waited < _REFRESH_SECONDS and self.state.version == version and not self.is_closing():
            await asyncio.sleep(_LOOK_SECONDS)
            waited += _LOOK_SECONDS

    def _watch(self, target: Target, change: int) -> None:
        with self.state.lock:
            self.state.watched[target] += change
            if self.state.watched[target] <= 0:
                del self.state.watched[target]
        self.poller.wake()

    # ---- actions ----

    async def act(self, request: Request, kind: str, do: Callable[[Target], str]) -> Response:
        """Stop the jobs of a page, or retry the failed ones, for one of our own forms."""
        token = await _form_token(request)
        if token is None or not self.key.is_csrf_token(token):
            return PlainTextResponse("this form is from another start of the dashboard: load the page again\n", 403)
        target = _target(request, kind)
        try:
            said = await run_in_threadpool(do, target)
        except SpotbatchError as error:
            said = str(error)
        kept = OrderedDict(self.state.said)
        kept[target.id] = (said, self.pages.now())
        while len(kept) > _SAID_KEPT:
            kept.popitem(last=False)
        self.state.said = kept
        self.poller.hurry()
        return RedirectResponse(page_url(target), status_code=303)

    def _stop(self, target: Target) -> str:
        return actions.stop(self.poller.fetcher.jobs, self.poller.fetcher.shown(target))

    def _again(self, target: Target) -> str:
        fetcher = self.poller.fetcher
        shown = fetcher.shown(target)
        return actions.again(fetcher.jobs, shown, fetcher.run_of(shown[0]), stack=fetcher.scope.stack)


def _target(request: Request, kind: str) -> Target:
    if kind == "list":
        return Target(kind="list")
    if kind == "trends":
        return Target(kind="trends", id=_choice(request, kind).search)
    attempt = request.query_params.get("attempt", "")
    number = int(attempt) if _is_number(attempt) else None
    found = str(request.path_params["id"])[:_LONGEST_ID]
    return Target(kind="run" if kind == "runs" else "job", id=found, attempt=number)


def _with_children(request: Request, target: Target) -> Target:
    return replace(target, children=request.query_params.get("children", "").strip()[:_LONGEST_INDEXES] or ANY)


def _named(address: str) -> Target | None:
    """The page that one of our addresses leads to; None for any other text."""
    kind, _, found = address.removeprefix("/").partition("/")
    if kind not in ("runs", "jobs") or not found or "/" in found:
        return None
    return Target(kind="run" if kind == "runs" else "job", id=unquote(found)[:_LONGEST_ID])


def _choice(request: Request, kind: str) -> Choice:
    return choice_of(request.query_params, _ORDERS.get(kind, CHILD_ORDERS))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER


async def _form_token(request: Request) -> str | None:
    """The token of a small form; None if there is none."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_FORM:
            return None
    return parse_qs(body.decode("utf-8", "replace")).get("token", [None])[0]


async def static(request: Request) -> Response:
    """The style, the script and the icon, by name; nothing else from the disk."""
    name = request.path_params["name"]
    if name == "icon.svg":
        return Response(_ICON, media_type="image/svg+xml")
    if name not in _STATIC:
        return PlainTextResponse("not there\n", status_code=404)
    text = await run_in_threadpool((ROOT / "static" / name).read_text, "utf-8")
    return Response(text, media_type=_STATIC[name])
