"""Pagination: maxResults and nextToken, as in AWS's lists."""

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.region import Document

Item = TypeVar("Item")

_MARK: Final = "1|"


def page(
    items: Sequence[Item], key: Callable[[Item], str], asked: Document, most: int, position: Callable[[str], int]
) -> tuple[Sequence[Item], str | None]:
    """One page of a list in a fixed order, and the token of the next page.

    A token contains the key of the last item returned; `position` returns where what follows a key begins, whether
    or not its item is still in the list: changes between two pages repeat nothing and skip nothing else.
    """
    size, last = window(asked, most)
    start = 0 if last is None else position(last)  # AWS's own scripts (awsbstat) start with an empty token
    end = start + size
    return items[start:end], _encode(key(items[end - 1])) if end < len(items) else None


def window(asked: Document, most: int) -> tuple[int, str | None]:
    """A page's size, and the key of the previous page's last item; for lists that are not read in full."""
    max_results, token = asked.get("maxResults"), asked.get("nextToken")
    if max_results is not None and not 1 <= max_results <= most:
        raise ClientException(f"maxResults must be between 1 and {most}, not {max_results}")
    return max_results or most, _decode(token) if token else None


def token_after(key: str) -> str:
    """The token of the page after the item with this key."""
    return _encode(key)


def check_count(member: str, named: Sequence[str], most: int) -> None:
    """Raises ClientException if a request names more than allowed."""
    if len(named) > most:
        raise ClientException(f"{member} holds up to {most} entries, not {len(named)}")


def answer_page(items: Iterable[Item], key: Callable[[Item], str], asked: Document, member: str, most: int) -> Document:
    """The requested page of a list, ordered by its keys: under `member`, with the next token."""
    ordered = sorted(items, key=key)
    keys = [key(item) for item in ordered]
    part, token = page(ordered, key, asked, most, lambda last: bisect_right(keys, last))
    return {member: list(part), **({"nextToken": token} if token else {})}


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(f"{_MARK}{key}".encode()).decode()


def _decode(token: str) -> str:
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(_MARK):
        raise ClientException(f"nextToken {token[:100]!r} is not one that this region gave")
    return text.removeprefix(_MARK)
