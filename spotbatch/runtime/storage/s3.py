"""Artifacts on S3, through obstore (a Rust client; bench/checkpoint.py explains the choice)."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import S3Store as Bucket

from spotbatch.batch.errors import BadName, Corrupt, InvalidSetting, Missing, Refused, SpotbatchError, StoreError
from spotbatch.runtime.storage.download import Changed, Stream, Tags
from spotbatch.runtime.storage.keys import is_plain
from spotbatch.runtime.storage.store import Draft, OnBytes, ignore

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

CONNECT_SECONDS = 5
STILL_SECONDS = 60  # without further data in a response
ANSWER_SECONDS = 6 * 3600  # for a whole response, as long as data keeps arriving
SEND_SECONDS = (60, 120, 240, 480, 960)  # for a request that sends; after one timed out, the next of these
RETRIES = 2  # for one request, inside the client; the caller retries failures within its own time
DELETE_AT_ONCE = 1000  # S3's limit for DeleteObjects
PART_BYTES = 16 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
_NO_BUCKET = "NoSuchBucket"
_BEYOND_END = "InvalidRange"
_ODD_KEY = "invalid path"
MOST_KEY_BYTES = 1024  # Amazon S3 user guide, "Naming Amazon S3 objects"
# Refusals that are temporary or due to this host's clock (Amazon S3 API Reference, "Error responses"): newer
# credentials, or another host, will succeed.
_OF_THE_MOMENT = ("ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed")
_TOO_LONG = ("timed out", "timeout")
_INSTANCE_METADATA = "//169.254.169.254/"  # asked for credentials if there are no others
_ERRORS = (BaseError, OSError, ValueError)  # ValueError: a name that the client refuses (control characters, not UTF-8)
_XML_OR_DUMP = re.compile(r"<\?xml|<Error|Debug source")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


class S3Store:
    """Objects below a prefix of a bucket. Credentials and region come from the environment or the task role."""

    def __init__(self, *, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint = endpoint_url()
        self._store = self._client(ANSWER_SECONDS, still_seconds=STILL_SECONDS)
        self._tags = Tags()
        self._patience = 0  # which of SEND_SECONDS
        self._senders = {0: self._client(SEND_SECONDS[0])}

    def _client(self, seconds: float, still_seconds: float | None = None) -> Bucket:
        """A client with this request timeout. Sending and receiving use separate ones: while a body is sent, the
        client cannot see progress, so the whole request is limited, generously after one has timed out.
        """
        return Bucket(
            self._bucket,
            config={
                "unsigned_payload": True,  # TLS protects the transfer; our own checksums protect the content
                "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
                **({"endpoint": self._endpoint} if self._endpoint else {}),
            },
            client_options={
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "timeout": timedelta(seconds=seconds),
                "allow_http": bool(self._endpoint and self._endpoint.startswith("http://")),
                **({"read_timeout": timedelta(seconds=still_seconds)} if still_seconds is not None else {}),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=STILL_SECONDS)},
        )

    def _sender(self) -> Bucket:
        level = self._patience
        if level not in self._senders:
            self._senders[level] = self._client(SEND_SECONDS[level])
        return self._senders[level]

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        name = self._name_to_write(key)
        try:
            obstore.put(self._sender(), name, data, use_multipart=False)
        except _ERRORS as error:
            self._be_patient(error)
            raise self._translated(error, key, is_read=False) from error

    def put_file(self, key: str, file: Path, on_bytes: OnBytes = ignore) -> None:
        name = self._name_to_write(key)
        with file.open("rb") as opened:
            source = cast("BinaryIO", _Counted(opened, on_bytes))
            try:
                obstore.put(self._sender(), name, source, chunk_size=PART_BYTES, max_concurrency=4)
            except _ERRORS as error:
                self._be_patient(error)
                raise self._translated(error, key, is_read=False) from error

    def _name_to_write(self, key: str) -> str:
        """Raises BadName if S3 does not accept such a key."""
        name = self._prefix + key
        if len(name) * 4 > MOST_KEY_BYTES and len(name.encode(errors="surrogateescape")) > MOST_KEY_BYTES:
            raise BadName(
                f"a key of S3 has at most {MOST_KEY_BYTES} bytes, and this has more: use shorter names for "
                f"{key[:60]!r}...{key[-60:]!r}"
            )
        return name

    def _be_patient(self, error: Exception) -> None:
        """After a request timed out while sending, the next may take twice as long: the connection may be that slow."""
        if any(words in str(error).lower() for words in _TOO_LONG):
            self._patience = min(self._patience + 1, len(SEND_SECONDS) - 1)

    def draft(self, prefix: str) -> Draft | None:  # noqa: ARG002 - the signature of all stores
        return None

    def get(self, key: str, on_bytes: OnBytes = ignore) -> bytes:
        pieces = []
        try:
            for piece in obstore.get(self._store, self._prefix + key).stream(min_chunk_size=PIECE_BYTES):
                pieces.append(piece)
                on_bytes(len(piece))
        except _ERRORS as error:
            raise self._translated(error, key) from error
        return b"".join(pieces)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
        try:
            found = obstore.get_ranges(self._store, self._prefix + key, starts=starts, lengths=lengths)
        except _ERRORS as error:
            raise self._translated(error, key) from error
        return [bytes(each) for each in found]

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        options: GetOptions = {"if_match": version} if version else {}
        if offset:
            options["range"] = {"offset": offset}
        try:
            answer = obstore.get(self._store, self._prefix + key, options=options)
            meta = answer.meta
        except PreconditionError as error:
            raise Changed(f"s3://{self._bucket}/{self._prefix}{key} was written while it was read") from error
        except _ERRORS as error:
            raise self._translated(error, key) from error
        tag = meta["e_tag"] or ""
        return Stream(
            version=tag,
            size=meta["size"],
            pieces=self._pieces(key, answer),
            md5=self._tags.md5_in(tag),
            tags=self._tags,
        )

    def _pieces(self, key: str, answer: "GetResult") -> Iterator[bytes | memoryview]:
        try:
            for piece in answer.stream(min_chunk_size=PIECE_BYTES):
                yield memoryview(piece)
        except _ERRORS as error:
            raise self._translated(error, key) from error

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        last = ""
        try:
            for page in obstore.list(self._store, prefix=self._prefix + prefix):
                for each in page:
                    last = each["path"]
                    yield last.removeprefix(self._prefix), each["size"]
        except _ERRORS as error:
            if _ODD_KEY not in str(error):
                raise self._translated(error, prefix, is_read=False) from error
        else:
            return
        yield from self._list_beside_odd_keys(self._prefix + prefix, last)

    def _list_beside_odd_keys(self, prefix: str, after: str) -> Iterator[tuple[str, int]]:
        """Someone has put a key there that the client does not understand (`a//b`): it is not ours, and
        must not hide all others.
        """
        from spotbatch.runtime.storage.s3_rest import RestBucket  # needed only here

        bucket, token = RestBucket(self._bucket, self._endpoint), ""
        while True:
            page, token = bucket.page(prefix, token)
            for key, size in page:
                if is_plain(key) and key.encode() > after.encode():
                    yield key.removeprefix(self._prefix), size
            if not token:
                return

    def delete(self, keys: Iterable[str]) -> None:
        left = iter(keys)
        while batch := [self._prefix + key for key in islice(left, DELETE_AT_ONCE)]:
            try:
                obstore.delete(self._store, batch)
            except NotFoundError:
                continue
            except _ERRORS as error:
                raise self._translated(error, batch[0]) from error

    def clear_leftovers(self, prefix: str) -> int:  # noqa: ARG002 - the signature of all stores
        """S3 never shows partial objects; the bucket's lifecycle rule removes the parts of interrupted uploads."""
        return 0

    def _translated(self, error: Exception, key: str, *, is_read: bool = True) -> SpotbatchError:
        """The client's error as one of ours. `is_read`: of a request for an object, where 404 says that it is missing.
        No other request is answered by S3 with 404 (Amazon S3 API Reference, "Error responses"), unless for want of
        a bucket: whatever answered so is not the store, or not yet.
        """
        whole = str(error)
        text = _in_short(whole)
        where = f"s3://{self._bucket}/{self._prefix}{key}"
        if _NO_BUCKET in whole:
            return Refused(f"{where}: there is no such bucket: {text}")
        if _BEYOND_END in whole:
            return Corrupt(f"{where} is shorter than it was when it was stored")
        if isinstance(error, NotFoundError | FileNotFoundError):
            return Missing(f"{where} is not there") if is_read else StoreError(f"{where}: answered with 404: {text}")
        if any(f"<Code>{code}</Code>" in whole for code in _OF_THE_MOMENT):
            return StoreError(f"{where}: {text}")
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return Refused(f"{where}: the role may not do this: {text}")
        if isinstance(error, ValueError) and not isinstance(error, BaseError):
            return BadName(f"{where!r}: a name on S3 must be UTF-8 without control characters: rename the file")
        if _INSTANCE_METADATA in whole:
            return StoreError(f"{where}: no credentials: neither AWS_* variables nor a task role give any ({text})")
        return StoreError(f"{where}: {text}")


class _Counted:
    """A file that reports how much of it was read: the client reads at most a few parts ahead of what it has sent."""

    def __init__(self, file: BinaryIO, on_bytes: OnBytes) -> None:
        self._file = file
        self._on_bytes = on_bytes
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._on_bytes(len(data))
        return data


def endpoint_url() -> str | None:
    """S3's endpoint, if not AWS's. The client would panic on an invalid URL."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if url := os.environ.get(name):
            if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", url):
                raise InvalidSetting(f"{name}={url!r}: http://host or https://host is wanted")
            return url
    return None


def _in_short(whole: str) -> str:
    """Only code and message of an XML answer: S3 quotes the session token of a request that it refuses."""
    head = _XML_OR_DUMP.split(whole, maxsplit=1)[0]
    said = [found.group(1) for pattern in (_CODE, _MESSAGE) if (found := pattern.search(whole))]
    return " ".join(f"{head} {': '.join(said)}".split())[:400]
