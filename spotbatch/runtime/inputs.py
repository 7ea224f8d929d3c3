"""Fetching declared inputs into the input folder before the command starts.

An S3 key is a string of bytes, and most keys, but not all, can be a file's path. One that cannot (`a//b`, `./a`, a
key `a` beside `a/b`, a name of 256 bytes) is a start-up error that names the key, raised before anything is fetched:
no other object may take its place, and no other attempt would do better.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from spotbatch.batch import artifacts
from spotbatch.batch.errors import BadName, Corrupt, HostFault, Invalid, InvalidSetting, Missing
from spotbatch.batch.light_dataclass import dataclass
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.errors import is_about_the_name
from spotbatch.runtime.pending_outputs import listed
from spotbatch.runtime.storage.download import Source, download, fetch_bytes, reading_again
from spotbatch.runtime.storage.input_source import open_input
from spotbatch.runtime.storage.parallel import in_parallel
from spotbatch.runtime.storage.store import Store

WIDTH = 8
OUTPUTS_OF = "outputs:"
MOST_NAME_BYTES = 255


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """One object being fetched into the input folder."""

    source: Source
    key: str
    url: str  # for people
    path: str  # below the input folder
    sha256: str = ""  # if known

    @property
    def is_folder(self) -> bool:
        """The marker of a folder, which has no content."""
        return self.path.endswith("/")


def fetch_inputs(urls: Iterable[str], own: Store | None, folder: Path, limit: Limit) -> int:
    """Fetch all inputs; returns the number of bytes moved.

    An input is a file (`s3://bucket/key`, `file:///path`), a folder (the same with a trailing slash), or
    `outputs:RUN`: the outputs of every finished job of a run in our own store, each below its unit's name.

    Raises:
        InvalidSetting: a URL that means nothing, or two inputs with one name.
        BadName: a key that no file can have, or two that no folder can hold both.
        Missing: nothing is there.
        StoreError: the store did not answer within the limit.
    """
    wanted: dict[str, Fetch] = {}
    for url in urls:
        for fetch in _plan(url, own, limit):
            name = fetch.path.rstrip("/")
            if (other := wanted.get(name)) is not None and not (other.is_folder and fetch.is_folder):
                raise _clash(other, fetch)
            wanted[name] = fetch
    _check_tree(wanted)
    moved: list[int] = []

    def bring(fetch: Fetch) -> None:
        try:
            moved.append(_bring(fetch, folder / fetch.path, limit))
        except OSError as error:
            if not is_about_the_name(error):
                raise
            raise BadName(f"the input {fetch.url} can be no file below {folder}: {error.strerror}") from error

    in_parallel(WIDTH, wanted.values(), bring)
    return sum(moved)


def _bring(fetch: Fetch, target: Path, limit: Limit) -> int:
    if fetch.is_folder:
        target.mkdir(parents=True, exist_ok=True)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        return reading_again(lambda: download(fetch.source, fetch.key, target, limit, fetch.sha256), limit)
    except Corrupt as problem:  # possibly this host, or its connection to the store
        raise HostFault(f"{problem}, also when fetched again and again") from problem


def _plan(url: str, own: Store | None, limit: Limit) -> list[Fetch]:
    if url.startswith(OUTPUTS_OF):
        if own is None:
            raise InvalidSetting(f"the input {url!r} needs SPOTBATCH_ARTIFACTS_URL, which is not set")
        found = list(_outputs_of(url.removeprefix(OUTPUTS_OF), own, limit))
    elif url.endswith("/"):
        found = list(_folder(url, limit))
    else:
        source, key = open_input(url)
        found = [_fetch(source, key, url, key.rpartition("/")[2])]
    if not found:
        raise Missing(f"the input {url} is not there")
    return found


def _outputs_of(run_id: str, own: Store, limit: Limit) -> Iterator[Fetch]:
    prefix = f"{artifacts.run_prefix(run_id)}/"
    markers = retrying(lambda: sorted(key for key, _ in own.list(prefix) if key.endswith("/output.json")), limit)
    for marker in markers:
        unit = marker.removeprefix(prefix).removesuffix("/output.json")
        if "/" in unit:
            continue  # a file with that name among the outputs themselves
        data = reading_again(lambda key=marker: fetch_bytes(own, key, limit), limit)  # type: ignore[misc]
        if (files := listed(data)) is None:
            raise Invalid(f"{marker} does not list outputs as spotrun writes them")
        for file in files.values():
            key = f"{prefix}{unit}/output/{file.path}"
            yield _fetch(own, key, key, f"{unit}/{file.path}", file.sha256)


def _folder(url: str, limit: Limit) -> Iterator[Fetch]:
    """All objects below, and the markers of empty folders that consoles create: 0 bytes, with a trailing slash."""
    source, prefix = open_input(url)
    for key, size in source.list(prefix, limit):
        path = key.removeprefix(prefix)
        if (not path or path.endswith("/")) and size:
            raise BadName(f"the input {url}: the object {key!r} has {size} bytes and the name of a folder")
        yield _fetch(source, key, f"{url}{path}", path)


def _fetch(source: Source, key: str, url: str, path: str, sha256: str = "") -> Fetch:
    """Raises BadName if the path cannot be a file's."""
    names = path.removesuffix("/").split("/") if path else []
    for name in names:
        if name in ("", ".", "..") or "\0" in name or not _is_short(name):
            raise BadName(f"the input {url!r}: no file can have the name {path!r} of this object: give it another key")
    return Fetch(source=source, key=key, url=url, path=path if names else "./", sha256=sha256)


def _is_short(name: str) -> bool:
    try:
        return len(os.fsencode(name)) <= MOST_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _check_tree(wanted: dict[str, Fetch]) -> None:
    """Check that nothing lies below a file."""
    for path, fetch in wanted.items():
        above = path.rpartition("/")[0]
        while above:
            if (other := wanted.get(above)) is not None and not other.is_folder:
                raise _clash(other, fetch)
            above = above.rpartition("/")[0]


def _clash(one: Fetch, other: Fetch) -> BadName:
    return BadName(
        f"two inputs would be {one.path!r} and {other.path!r} in the input folder, which cannot hold both: "
        f"{one.url!r} and {other.url!r}"
    )
