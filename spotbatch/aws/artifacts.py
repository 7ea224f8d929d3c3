"""The artifact store as seen by the command line: a bucket (`s3://bucket/prefix`) or a folder (`file:///folder`)."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from spotbatch.aws import session
from spotbatch.batch.errors import Damaged, InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OnBytes = Callable[[int], object]
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An object in the store: its key below the store's URL, and its size."""

    key: str
    size_bytes: int


class Artifacts(Protocol):
    """The operations of a store. Raises NotFound for a missing key, Unavailable if the store does not answer."""

    @property
    def url(self) -> str:
        """The store's URL, as passed to jobs."""
        ...

    def list(self, prefix: str) -> Iterator[Found]:
        """The objects below a prefix, in key order."""
        ...

    def read(self, key: str) -> bytes:
        """Read a small object whole."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write a small object atomically."""
        ...

    def download(self, key: str, to: Path, on_bytes: OnBytes) -> None:
        """Copy an object into a file, reporting each chunk."""
        ...

    def upload(self, source: Path, key: str) -> None:
        """Upload a file atomically."""
        ...


def open_artifacts(url: str) -> Artifacts:
    """The store at a URL. Raises InvalidInput for an unsupported kind of URL."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path:
        return Folder(url=url, root=Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return Bucket(url=url, bucket=parts.netloc, prefix=parts.path.strip("/"))
    raise InvalidInput(f"an artifact store is s3://bucket/prefix or file:///folder, not {url!r}")


def read_json(store: Artifacts, key: str) -> Any:
    """Read an object that holds JSON. Raises NotFound, or Unavailable if it is not JSON."""
    try:
        return json.loads(store.read(key))
    except ValueError as error:
        raise Damaged(f"{store.url}/{key} is damaged: it is not JSON ({error})") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A folder on this machine: the local region's store."""

    url: str
    root: Path

    def list(self, prefix: str) -> Iterator[Found]:
        top = self._path(prefix)
        paths = sorted(Path(folder, name) for folder, _, names in os.walk(top) for name in names)
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # a run in progress renames and removes files meanwhile
                size = path.stat().st_size
                yield Found(key=path.relative_to(self.root).as_posix(), size_bytes=size)

    def read(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"there is no {key} in {self.url}") from None

    def write(self, key: str, data: bytes) -> None:
        path = self._path(key)
        scratch = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(data)
            scratch.replace(path)
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror}") from error

    def download(self, key: str, to: Path, on_bytes: OnBytes) -> None:
        try:
            source = self._path(key).open("rb")
        except FileNotFoundError:
            raise NotFound(f"there is no {key} in {self.url}") from None
        with source, to.open("wb") as target:
            while data := source.read(_READ_BYTES):
                target.write(data)
                on_bytes(len(data))
        shutil.copystat(self._path(key), to)

    def upload(self, source: Path, key: str) -> None:
        path = self._path(key)
        scratch = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, scratch)
            scratch.replace(path)
        except OSError as error:
            raise Unavailable(f"{source} cannot be copied to {path}: {error.strerror}") from error

    def _path(self, key: str) -> Path:
        return self.root / safe_relative(key)


def _s3() -> "S3Client":
    return session.client("s3")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """A bucket, restricted to a prefix."""

    url: str
    bucket: str
    prefix: str
    s3: "S3Client" = field(default_factory=_s3)

    def list(self, prefix: str) -> Iterator[Found]:
        below = self._key(prefix).strip("/")
        return self.beginning_with(f"{below}/" if below else "")

    def beginning_with(self, text: str) -> Iterator[Found]:
        """The objects whose full keys begin with this, a prefix in S3's sense: it need not end at a folder boundary."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=text)
        cut = len(self._key(""))
        for page in pages:
            for each in page.get("Contents", []):
                yield Found(key=each["Key"][cut:], size_bytes=each["Size"])

    def read(self, key: str) -> bytes:
        with session.translating():
            return self.s3.get_object(Bucket=self.bucket, Key=self._key(key))["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=self._key(key), Body=data)

    def download(self, key: str, to: Path, on_bytes: OnBytes) -> None:
        from boto3.s3.inject import download_file  # boto3 is slow to load, and only transfers need it

        with session.translating():
            download_file(self.s3, self.bucket, self._key(key), str(to), Callback=on_bytes)

    def upload(self, source: Path, key: str) -> None:
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.inject import upload_file

        try:
            with session.translating():
                upload_file(self.s3, str(source), self.bucket, self._key(key))
        except (OSError, S3UploadFailedError) as error:
            raise Unavailable(f"{source} cannot be sent to {self.url}/{key}: {error}") from error

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key


def safe_relative(key: str) -> PurePosixPath:
    """A key as a path that stays below its folder. Raises InvalidInput for a key that would escape it."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidInput(f"the key {key!r} leads out of its folder: it is left alone")
    return path
