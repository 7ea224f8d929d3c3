"""Fetching declared inputs into the input folder before the command starts."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from spotbatch.batch import artifacts
from spotbatch.batch.errors import InvalidSetting, Missing
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.storage.location import open_store, unquoted
from spotbatch.runtime.storage.parallel import in_parallel
from spotbatch.runtime.storage.store import Store

WIDTH = 8
OUTPUTS_OF = "outputs:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """One object on its way into the input folder."""

    store: Store
    key: str
    path: str  # below the input folder
    size: int


def fetch_inputs(urls: Iterable[str], own: Store | None, folder: Path, limit: Limit) -> int:
    """Fetch all inputs; answers the bytes moved.

    An input is a file (`s3://bucket/key`, `file:///path`), a folder (the same with a slash at its end), or
    `outputs:RUN`: the outputs of every finished job of a run in our own store, each below its unit's name.

    Raises:
        InvalidSetting: a URL that means nothing, or two inputs with one name.
        Missing: nothing is there.
        StoreError: the store did not answer within the limit.
    """
    wanted: dict[str, Fetch] = {}
    for url in urls:
        for fetch in _plan(url, own, limit):
            if fetch.path in wanted:
                raise InvalidSetting(f"two inputs would be {fetch.path!r} in the input folder; the second is {url!r}")
            wanted[fetch.path] = fetch

    def bring(fetch: Fetch) -> None:
        target = folder / fetch.path
        target.parent.mkdir(parents=True, exist_ok=True)
        retrying(lambda: fetch.store.get_file(fetch.key, target), limit)

    in_parallel(WIDTH, wanted.values(), bring)
    return sum(fetch.size for fetch in wanted.values())


def _plan(url: str, own: Store | None, limit: Limit) -> list[Fetch]:
    if url.startswith(OUTPUTS_OF):
        if own is None:
            raise InvalidSetting(f"the input {url!r} needs SPOTBATCH_ARTIFACTS_URL, which is not set")
        found = list(_outputs_of(url.removeprefix(OUTPUTS_OF), own, limit))
    elif url.endswith("/"):
        found = _folder(url, limit)
    else:
        found = [_file(url)]
    if not found:
        raise Missing(f"the input {url} is not there")
    return found


def _outputs_of(run_id: str, own: Store, limit: Limit) -> Iterator[Fetch]:
    prefix = f"{artifacts.run_prefix(run_id)}/"
    markers = retrying(lambda: sorted(key for key, _ in own.list(prefix) if key.endswith("/output.json")), limit)
    for marker in markers:
        unit = marker.removeprefix(prefix).removesuffix("/output.json")
        if "/" in unit:
            continue  # a file of that name among the outputs themselves
        body: dict[str, Any] = json.loads(retrying(lambda key=marker: own.get(key), limit))  # type: ignore[misc]
        for file in body["files"]:
            path = f"{unit}/{file['path']}"
            yield Fetch(store=own, key=f"{prefix}{unit}/output/{file['path']}", path=_safe(path), size=file["bytes"])


def _folder(url: str, limit: Limit) -> list[Fetch]:
    store = open_store(url.rstrip("/") or url)
    return [
        Fetch(store=store, key=key, path=_safe(key), size=size)
        for key, size in retrying(lambda: list(store.list("")), limit)
        if not key.endswith("/")
    ]


def _file(url: str) -> Fetch:
    above, _, name = url.rpartition("/")
    if not name or "://" not in above:
        raise InvalidSetting(f"the input {url!r} is no URL: s3://..., file:///... or outputs:RUN is wanted")
    name = unquoted(name) if url.startswith("file:") else name
    return Fetch(store=open_store(above), key=name, path=_safe(name), size=0)


def _safe(path: str) -> str:
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise InvalidSetting(f"the input's name {path!r} would leave the input folder")
    return path
