"""Pages of an answer: maxResults and nextToken, as AWS's lists have them."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.region import Document

Item = TypeVar("Item")


def page(
    items: Sequence[Item], keys: Sequence[str], *, max_results: int | None, token: str | None, most: int
) -> tuple[Sequence[Item], str | None]:
    """One page and the token of the next. A token names the last item given: new items in front do not repeat any."""
    if max_results is not None and not 1 <= max_results <= most:
        raise ClientException(f"maxResults must be between 1 and {most}, not {max_results}")
    start = 0
    if token is not None:
        last = _decode(token)
        if last not in keys:
            raise ClientException(
                "nextToken is not one that this list gave, or its item is gone: start again without it"
            )
        start = keys.index(last) + 1
    end = start + (max_results or most)
    following = _encode(keys[end - 1]) if end < len(items) else None
    return items[start:end], following


def answer_page(items: Sequence[Item], key: Callable[[Item], str], asked: Document, member: str, most: int) -> Document:
    """The page of a list that a request asks for: under `member`, with the next token if there is one."""
    keys = [key(item) for item in items]
    part, token = page(items, keys, max_results=asked.get("maxResults"), token=asked.get("nextToken"), most=most)
    return {member: list(part), **({"nextToken": token} if token else {})}


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise ClientException(f"nextToken {token[:100]!r} is not one that this region gave") from error
