"""Artifacts on S3, by way of obstore (a Rust client; bench/checkpoint.py says why this one)."""

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as Bucket

from spotbatch.runtime.errors import Missing, Refused, StoreError

CONNECT_SECONDS = 5
REQUEST_SECONDS = 60  # 8 MiB within it needs 1.1 Mbit/s
RETRIES = 2  # of one request, inside the client; what fails then is the caller's to retry, with the time that it has
DELETE_AT_ONCE = 1000  # S3's limit for DeleteObjects
PART_BYTES = 16 * 1024 * 1024
_NO_BUCKET = "NoSuchBucket"


class S3Store:
    """Objects below a prefix of a bucket. Credentials and region come from the environment or the task role."""

    def __init__(self, *, bucket: str, prefix: str) -> None:
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
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
        except (BaseError, OSError) as error:
            raise self._translated(error, key) from error

    def put_file(self, key: str, file: Path) -> None:
        try:
            obstore.put(self._store, self._prefix + key, file, chunk_size=PART_BYTES, max_concurrency=4)
        except (BaseError, OSError) as error:
            raise self._translated(error, key) from error

    def get(self, key: str) -> bytes:
        try:
            return bytes(obstore.get(self._store, self._prefix + key).bytes())
        except (BaseError, OSError) as error:
            raise self._translated(error, key) from error

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
        try:
            found = obstore.get_ranges(self._store, self._prefix + key, starts=starts, lengths=lengths)
        except (BaseError, OSError) as error:
            raise self._translated(error, key) from error
        return [bytes(each) for each in found]

    def get_file(self, key: str, file: Path) -> None:
        try:
            with file.open("wb") as out:
                for piece in obstore.get(self._store, self._prefix + key).stream(min_chunk_size=PART_BYTES):
                    out.write(piece)
        except (BaseError, OSError) as error:
            raise self._translated(error, key) from error

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        try:
            for page in obstore.list(self._store, prefix=self._prefix + prefix):
                for each in page:
                    yield each["path"].removeprefix(self._prefix), each["size"]
        except (BaseError, OSError) as error:
            raise self._translated(error, prefix) from error

    def delete(self, keys: Iterable[str]) -> None:
        left = iter(keys)
        while batch := [self._prefix + key for key in islice(left, DELETE_AT_ONCE)]:
            try:
                obstore.delete(self._store, batch)
            except NotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise self._translated(error, batch[0]) from error

    def _translated(self, error: Exception, key: str) -> StoreError:
        """The client's error in our words. Its text is cut short: it may quote a whole XML answer."""
        whole = str(error)
        text = " ".join(whole.split())[:300]
        where = f"s3://{self._bucket}/{self._prefix}{key}"
        if _NO_BUCKET in whole:
            return Refused(f"{where}: there is no such bucket: {text}")
        if isinstance(error, NotFoundError | FileNotFoundError):
            return Missing(f"{where} is not there")
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return Refused(f"{where}: the role may not do this: {text}")
        return StoreError(f"{where}: {text}")
