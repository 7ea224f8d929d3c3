"""Artifacts on S3, by way of obstore (a Rust client; bench/checkpoint.py says why this one)."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as Bucket

from spotbatch.runtime.errors import InvalidSetting, Missing, Refused, StoreError

CONNECT_SECONDS = 5
REQUEST_SECONDS = 60  # 8 MiB within it needs 1.1 Mbit/s
RETRIES = 2  # of one request, inside the client; what fails then is the caller's to retry, with the time that it has
DELETE_AT_ONCE = 1000  # S3's limit for DeleteObjects
PART_BYTES = 16 * 1024 * 1024
_NO_BUCKET = "NoSuchBucket"
_INSTANCE_METADATA = "//169.254.169.254/"  # asked for credentials when nothing else gives any
_ERRORS = (BaseError, OSError, ValueError)  # ValueError: a name that the client refuses (control characters, no UTF-8)
_XML_OR_DUMP = re.compile(r"<\?xml|<Error|Debug source")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


class S3Store:
    """Objects below a prefix of a bucket. Credentials and region come from the environment or the task role."""

    def __init__(self, *, bucket: str, prefix: str) -> None:
        endpoint = _endpoint()
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._store = Bucket(
            bucket,
            config={
                "unsigned_payload": True,  # TLS guards the way; our own checksums guard the content
                "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
                **({"endpoint": endpoint} if endpoint else {}),
            },
            client_options={
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "timeout": timedelta(seconds=REQUEST_SECONDS),
                "allow_http": bool(endpoint and endpoint.startswith("http://")),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=REQUEST_SECONDS)},
        )

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        try:
            obstore.put(self._store, self._prefix + key, data, use_multipart=False)
        except _ERRORS as error:
            raise self._translated(error, key) from error

    def put_file(self, key: str, file: Path) -> None:
        try:
            obstore.put(self._store, self._prefix + key, file, chunk_size=PART_BYTES, max_concurrency=4)
        except _ERRORS as error:
            raise self._translated(error, key) from error

    def get(self, key: str) -> bytes:
        try:
            return bytes(obstore.get(self._store, self._prefix + key).bytes())
        except _ERRORS as error:
            raise self._translated(error, key) from error

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
        try:
            found = obstore.get_ranges(self._store, self._prefix + key, starts=starts, lengths=lengths)
        except _ERRORS as error:
            raise self._translated(error, key) from error
        return [bytes(each) for each in found]

    def get_file(self, key: str, file: Path) -> None:
        try:
            with file.open("wb") as out:
                for piece in obstore.get(self._store, self._prefix + key).stream(min_chunk_size=PART_BYTES):
                    out.write(piece)
        except _ERRORS as error:
            raise self._translated(error, key) from error

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        try:
            for page in obstore.list(self._store, prefix=self._prefix + prefix):
                for each in page:
                    yield each["path"].removeprefix(self._prefix), each["size"]
        except _ERRORS as error:
            raise self._translated(error, prefix) from error

    def delete(self, keys: Iterable[str]) -> None:
        left = iter(keys)
        while batch := [self._prefix + key for key in islice(left, DELETE_AT_ONCE)]:
            try:
                obstore.delete(self._store, batch)
            except NotFoundError:
                continue
            except _ERRORS as error:
                raise self._translated(error, batch[0]) from error

    def clear_leftovers(self, prefix: str) -> int:  # noqa: ARG002 - the face of every store
        """S3 shows no half of an object; parts of uploads that were cut off are the bucket's lifecycle rule's."""
        return 0

    def _translated(self, error: Exception, key: str) -> StoreError:
        """The client's error in our words."""
        whole = str(error)
        text = _in_short(whole)
        where = f"s3://{self._bucket}/{self._prefix}{key}"
        if _NO_BUCKET in whole:
            return Refused(f"{where}: there is no such bucket: {text}")
        if isinstance(error, NotFoundError | FileNotFoundError):
            return Missing(f"{where} is not there")
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return Refused(f"{where}: the role may not do this: {text}")
        if isinstance(error, ValueError) and not isinstance(error, BaseError):
            return Refused(f"{where!r}: a name on S3 must be UTF-8 without control characters: rename the file")
        if _INSTANCE_METADATA in whole:
            return StoreError(f"{where}: no credentials: neither AWS_* variables nor a task role give any ({text})")
        return StoreError(f"{where}: {text}")


def _endpoint() -> str | None:
    """Where S3 is, if not at AWS. The client would panic on what is no URL."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if url := os.environ.get(name):
            if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", url):
                raise InvalidSetting(f"{name}={url!r}: http://host or https://host is wanted")
            return url
    return None


def _in_short(whole: str) -> str:
    """Of an XML answer its code and message alone: S3 quotes the session token of a request that it refuses."""
    head = _XML_OR_DUMP.split(whole, maxsplit=1)[0]
    said = [found.group(1) for pattern in (_CODE, _MESSAGE) if (found := pattern.search(whole))]
    return " ".join(f"{head} {': '.join(said)}".split())[:400]
