"""HTML from what the state knows: a page is a frame with regions; a browser that stays gets only new regions."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from spotbatch import wording
from spotbatch.batch.attempt_outcome import outcomes_of
from spotbatch.batch.job import Job
from spotbatch.pricing.ledger import Part
from spotbatch.pricing.report import shown_usd
from spotbatch.runs.attempt_story import outcome_text
from spotbatch.runs.tracker import BAR_ORDER
from spotbatch.web.choice import CHILD_ORDERS, NO_CHOICE, RUN_ORDERS, TREND_ORDERS, Choice
from spotbatch.web.comparison import Compared, comparison
from spotbatch.web.fetcher import log_key
from spotbatch.web.log_lines import log_lines
from spotbatch.web.money_view import CHART_HEIGHT, Drawings
from spotbatch.web.poller import needs_findings
from spotbatch.web.run_list import RunRow, run_rows
from spotbatch.web.run_units import index_of
from spotbatch.web.run_view import RunView, run_view
from spotbatch.web.scope import Scope, place_name
from spotbatch.web.state import Detail, State
from spotbatch.web.target import Target
from spotbatch.web.trends import TREND_HEIGHT, Trends, trends_of

ROOT: Final = Path(__file__).resolve().parent
COMPARED: Final = ("a", "b")  # the address fields that name the two runs
SCRIPTS: Final = ("idiomorph.min.js", "heat_map.js", "live.js")  # in this order; a live page has them all
_SAID_SECONDS: Final = 60.0
_LONGEST_LINE: Final = 2000
_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TITLES: Final = {"list": "Runs", "trends": "Trends"}
_ORDERS: Final = {"list": RUN_ORDERS, "trends": TREND_ORDERS}
_REGIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "list": ("notice", "runs"),
    "trends": ("notice", "trends"),
    "many": (
        "notice",
        "head",
        "control",
        "progress",
        "findings",
        "graph",
        "failures",
        "children",
        "hosts",
        "money",
        "table",
    ),
    "logs": ("notice", "logs"),
    "one": ("notice", "head", "control", "findings", "graph", "attempts", "log", "hosts", "money"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page, ready to be sent."""

    title: str
    html: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pages:
    """Renders pages and their regions. With a token, they include forms that change something."""

    state: State
    scope: Scope
    csrf_token: str = ""
    place: Callable[[], str] = place_name
    now: Callable[[], float] = field(default=time.time)
    drawings: Drawings = field(default_factory=Drawings)

    def page(self, target: Target, choice: Choice = NO_CHOICE, *, inline: Mapping[str, str] | None = None) -> Page:
        """A whole page; with `inline` (css, js, policy) as one self-contained file."""
        context = self._context(target, choice, is_export=inline is not None)
        regions = self._rendered(context)
        title = context["look"].name if context["look"] is not None else _TITLES.get(target.kind, target.id)
        frame = self._template("page.html")
        html = frame.render(context, title=title, regions=regions, inline=inline, live_url=live_url(target, choice))
        return Page(title=title, html=html)

    def compare_page(self, chosen: Mapping[str, Target]) -> Page:
        """Two runs side by side (by the fields a and b), or the form to choose them. It is not updated live."""
        both = [self._compared(chosen[name]) for name in COMPARED if name in chosen]
        known = [each for each in both if each is not None]
        context = self._context(Target(kind="list"), NO_CHOICE, is_export=False)
        listed = [(row.href, f"{row.name}, {wording.ago(row.created_at, self.now())}") for row in context["rows"]]
        named = {page_url(target): target.id for target in chosen.values()}
        more = {
            "rows": comparison(known[0], known[1]) if len(known) == len(COMPARED) else (),
            "both": [
                {"url": page_url(target), "id": target.id, "name": each.view.name, "status": each.view.progress.status}
                for target, each in zip(chosen.values(), known, strict=False)
            ],
            "choices": [*listed, *((href, name) for href, name in named.items() if href not in dict(listed))],
            "chosen": {name: page_url(chosen[name]) if name in chosen else "" for name in COMPARED},
        }
        html = self._template("compare.html").render({**context, **more})
        frame = self._template("page.html")
        around = {"title": "Two runs", "regions": {"compare": html}, "inline": None, "live_url": ""}
        return Page(title="Two runs", html=frame.render({**context, **around, "is_compared": True}))

    def _compared(self, target: Target) -> Compared | None:
        view = run_view(self.state, target, self.drawings, NO_CHOICE, self.now())
        with self.state.lock:
            return Compared(view=view, account=self.state.accounts.get(target.id)) if view is not None else None

    def regions(self, target: Target, choice: Choice = NO_CHOICE) -> dict[str, str]:
        """The parts of a page that change, by the ids of their elements."""
        return self._rendered(self._context(target, choice, is_export=False))

    def _rendered(self, context: Mapping[str, Any]) -> dict[str, str]:
        names = _REGIONS[context["kind"]]
        return {name: self._template(f"{name}.html").render(context) for name in names}

    def _context(self, target: Target, choice: Choice, *, is_export: bool) -> dict[str, Any]:
        now = self.now()
        shown = None if target.is_list else run_view(self.state, target, self.drawings, choice, now)
        rows = run_rows(self.state, choice) if target.is_list else ()
        only = shown.members[0] if shown is not None and len(shown.members) == 1 else None
        is_one = only is not None and only.array is None
        with self.state.lock:
            detail = self.state.detail(only.id) if only is not None else Detail()
            log = self.state.detail(log_key(target)) if is_one else Detail()
            control = self.state.controls.get(target.id)
            said, said_at = self.state.said.get(target.id, ("", now))
        return {
            "kind": target.kind if target.is_list else "logs" if target.children else "one" if is_one else "many",
            "target": target,
            "now": now,
            "place": self.place(),
            "queue": (self.scope.queue or "").rpartition("/")[2],
            "trouble": self.state.trouble,
            "gaps": self.state.gaps,
            "as_of": self.state.as_of,
            "look": shown,
            "base": page_url(target),
            "index": index_of(only) if only is not None else None,
            "idle": Part.IDLE.value,
            "job": only,
            "rows": rows,
            "trends": self._trends(rows, choice) if target.kind == "trends" else None,
            "trend_height": TREND_HEIGHT,
            "usd": shown_usd,
            "choice": choice,
            "orders": _ORDERS.get(target.kind, CHILD_ORDERS),
            "statuses": [status.value for status in BAR_ORDER],
            "is_compared": False,
            "is_listed": self.state.is_listed,
            "detail": detail,
            "findings": detail.findings if only is not None and needs_findings(only) else None,
            "control": control,
            "log": log,
            "drawn_hosts": _drawn_hosts(shown),
            "several": self.state.several.get(target),
            "log_lines": log_lines(log.log or ()),
            "scripts": SCRIPTS,
            "said": said if now - said_at < _SAID_SECONDS else "",
            "csrf_token": self.csrf_token,
            "is_export": is_export,
            "outcome_text": outcome_text,
            "outcomes": outcomes_of(only) if is_one and only is not None else (),
            "words": wording,
            "height": CHART_HEIGHT,
        }

    def _trends(self, rows: Sequence[RunRow], choice: Choice) -> Trends | None:
        with self.state.lock:
            accounts = dict(self.state.accounts)
        return trends_of(rows, accounts, is_by_day=choice.order == "day")

    def _template(self, name: str) -> Any:
        return _environment().get_template(name)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,  # job names, reasons and logs are untrusted text
        finalize=_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["iso"] = _iso
    made.filters["short"] = _short
    made.filters["line"] = _line
    return made


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _drawn_hosts(shown: RunView | None) -> frozenset[str]:
    """The hosts that have a line of their own on the page, so that a link leads somewhere."""
    groups = shown.hosts.groups if shown is not None and shown.hosts is not None else ()
    return frozenset(row.host.instance_id for group in groups for row in group.rows)


def _plain(value: object) -> object:
    """Whatever a template shows: text without colours, and with control characters and reversed text spelt out."""
    if type(value) is not str:  # Markup is a str too: our own HTML
        return value
    return wording.harmless(_COLOURS.sub("", value) if "\x1b" in value else value)


def _line(text: str) -> str:
    """A log's line, cut where it is very long (CloudWatch takes a line of 1 MiB)."""
    plain = str(_plain(text))
    return plain if len(plain) <= _LONGEST_LINE else f"{plain[:_LONGEST_LINE]} … ({len(plain):,} characters)"


def _short(job: Job | str) -> str:
    """The first block of an id, with the child's index: enough to distinguish jobs visually."""
    parent, _, index = (job if isinstance(job, str) else job.id).partition(":")
    return f"{parent[:8]}{f':{index}' if index else ''}"


def page_url(target: Target) -> str:
    """A page's address, without the choices made on it."""
    if target.is_list:
        return "/trends" if target.kind == "trends" else "/"
    return f"/{target.kind}s/{quote(target.id, safe=':')}"


def live_url(target: Target, choice: Choice = NO_CHOICE) -> str:
    """The address of a page's updates."""
    where = f"/live{page_url(target).rstrip('/')}"
    if target.children:
        return f"{where}/logs?{urlencode({'children': target.children})}"
    return f"{where}?attempt={target.attempt}" if target.attempt is not None else f"{where}{choice.query()}"
