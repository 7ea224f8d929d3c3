"""Other people's objects, by full key: a bucket, or a folder."""

import stat
from collections.abc import Iterator
from pathlib import Path

from spotbatch.batch.errors import InvalidSetting
from spotbatch.batch.light_types import Protocol
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.log import say
from spotbatch.runtime.storage.download import Source, Stream
from spotbatch.runtime.storage.keys import is_bucket, is_plain
from spotbatch.runtime.storage.location import unquoted
from spotbatch.runtime.storage.store import FolderStore


class InputSource(Source, Protocol):
    """Where inputs are."""

    def list(self, prefix: str, limit: Limit) -> Iterator[tuple[str, int]]:
        """(key, bytes) of all objects whose keys have this prefix."""


class InputBucket:
    """A bucket. Keys that the fast client leaves unchanged go through it, all others through the REST interface."""

    def __init__(self, bucket: str) -> None:
        from spotbatch.runtime.storage.s3 import S3Store, endpoint_url
        from spotbatch.runtime.storage.s3_rest import RestBucket

        self._fast = S3Store(bucket=bucket, prefix="")
        self._exact = RestBucket(bucket, endpoint_url())

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        source: Source = self._fast if is_plain(key) else self._exact
        return source.open_at(key, offset, version)

    def list(self, prefix: str, limit: Limit) -> Iterator[tuple[str, int]]:
        token = ""
        while True:
            page, token = retrying(lambda token=token: self._exact.page(prefix, token), limit)  # type: ignore[misc]
            yield from page
            if not token:
                return


class InputFolder:
    """A folder on this machine, and the files below it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = FolderStore(folder)

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        return self._store.open_at(key, offset, version)

    def list(self, prefix: str, limit: Limit) -> Iterator[tuple[str, int]]:  # noqa: ARG002 - signature of every source
        for key, size in self._store.list(prefix):
            try:
                is_file = stat.S_ISREG((self._folder / key).stat().st_mode)
            except OSError as error:
                if (self._folder / key).is_symlink():
                    say(f"not fetched: {self._folder / key} is a link that leads nowhere ({error.strerror})")
                continue  # otherwise it has disappeared in the meantime
            if is_file:
                yield key, size
            else:
                say(f"not fetched: {self._folder / key} is no file")


def open_input(url: str) -> tuple[InputSource, str]:
    """The source of an input, and its key there; for a folder, the prefix with its slash. Keys are taken literally.

    Raises:
        InvalidSetting: the URL is neither s3://bucket/key nor file:///path.
    """
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    if scheme == "s3" and is_bucket(place) and slash:
        return InputBucket(place), path
    if scheme == "file" and place in ("", "localhost") and path:
        local = Path("/", unquoted(path))
        return (InputFolder(local), "") if path.endswith("/") else (InputFolder(local.parent), local.name)
    raise InvalidSetting(f"the input {url!r} is no URL: s3://bucket/key, file:///path or outputs:RUN is wanted")
