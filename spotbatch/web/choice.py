"""A user's choices on a page: search, status, order and page of a table, kept in the page's address. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from spotbatch.batch.status import JobStatus

_LONGEST_SEARCH: Final = 100
_MOST_PAGES: Final = 100_000
RUN_ORDERS: Final = {"": "newest first", "oldest": "oldest first", "name": "name", "longest": "longest first"}
TREND_ORDERS: Final = {"": "by run", "day": "by day"}
CHILD_ORDERS: Final = {
    "": "index",
    "duration": "longest first",
    "attempts": "most attempts first",
    "memory": "most memory first",
    "exit": "exit code",
    "host": "host",
    "input": "input",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A choice; the default is the whole table in its default order."""

    search: str = ""
    status: JobStatus | None = None
    order: str = ""
    page: int = 1

    @property
    def is_filter(self) -> bool:
        """Whether it excludes rows."""
        return bool(self.search) or self.status is not None

    def query(self, **changes: object) -> str:
        """As a query string, "?status=FAILED&page=2"; "" for the default. `changes` are fields that differ."""
        made = replace(self, **changes) if changes else self  # type: ignore[arg-type]  # names and types are ours
        pairs = {"q": made.search, "status": made.status.value if made.status else "", "sort": made.order}
        if made.page > 1:
            pairs["page"] = str(made.page)
        text = urlencode({name: value for name, value in pairs.items() if value})
        return f"?{text}" if text else ""


NO_CHOICE: Final = Choice()


def choice_of(parameters: Mapping[str, str], orders: Mapping[str, str]) -> Choice:
    """Parse an address. Invalid choices are ignored: it may have been written by hand."""
    status, page = parameters.get("status", ""), parameters.get("page", "")
    order = parameters.get("sort", "")
    return Choice(
        search=parameters.get("q", "").strip()[:_LONGEST_SEARCH],
        status=JobStatus(status) if status in JobStatus.__members__ else None,
        order=order if order in orders else "",
        page=min(_MOST_PAGES, max(1, int(page))) if page.isascii() and page.isdecimal() and len(page) < 7 else 1,
    )
