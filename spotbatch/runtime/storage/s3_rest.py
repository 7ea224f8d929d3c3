"""S3 through its REST interface, with keys taken literally.

The client used for checkpoints (obstore) treats a key as a path: it refuses `a//b`, `./a` and control
characters, reads `a/` as `a`, and lists none of them literally. To S3 a key is a string of bytes, and other people's
objects, which are our inputs, have such names. So keys that it would change are handled here: listing and reading only.

Sources: Amazon S3 API Reference, ListObjectsV2 and GetObject; AWS General Reference, "Signature Version 4", where S3's
canonical URI is the path as it is sent, neither normalised nor encoded twice.
"""

import hashlib
import hmac
import http.client
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus, urlsplit

from spotbatch.batch.errors import Missing, Refused, StoreError
from spotbatch.runtime.storage.credentials import CredentialChain, Credentials
from spotbatch.runtime.storage.download import Changed, Stream, Tags

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

STILL_SECONDS = 60.0
PIECE_BYTES = 1024 * 1024
MOST_ERROR_BYTES = 64 * 1024
_EMPTY = hashlib.sha256(b"").hexdigest()
_OF_THE_MOMENT = ("ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed", "RequestTimeout", "SlowDown")
_TEXT = re.compile(rb"<(Code|Message)>([^<]*)</")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where to reach a bucket: scheme, host, and the path before the key."""

    scheme: str
    host: str
    above: str

    @classmethod
    def of(cls, bucket: str, region: str, endpoint: str | None) -> "Place":
        """Path style at a custom endpoint and for names with dots, which no certificate covers."""
        if endpoint is not None:
            parts = urlsplit(endpoint)
            return cls(scheme=parts.scheme, host=parts.netloc, above=f"{parts.path.rstrip('/')}/{bucket}")
        domain = f"s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
        if "." in bucket:
            return cls(scheme="https", host=domain, above=f"/{bucket}")
        return cls(scheme="https", host=f"{bucket}.{domain}", above="")


class RestBucket:
    """One bucket, read by full key."""

    def __init__(self, bucket: str, endpoint: str | None) -> None:
        self._bucket = bucket
        self._region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._place = Place.of(bucket, self._region, endpoint)
        self._credentials = CredentialChain()
        self._tags = Tags()

    def page(self, prefix: str, token: str) -> tuple[list[tuple[str, int]], str]:
        """Up to a thousand (key, bytes) with a prefix, and the token of the next page, or "".

        Raises:
            StoreError, Refused.
        """
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "max-keys": "1000"}
        if token:
            query["continuation-token"] = token
        connection, answer = self._get("", query, {})
        try:
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(f"{self._url(prefix)}: the list was cut off ({error})") from error
        finally:
            connection.close()
        return _listed(data, self._url(prefix))

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        """Raises Changed, Missing, Refused, StoreError."""
        headers = {"If-Match": version} if version else {}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        connection, answer = self._get(key, {}, headers)
        length = int(answer.headers.get("Content-Length") or 0)
        size = offset + length if answer.status == http.client.PARTIAL_CONTENT or not offset else -1
        if size < 0:
            connection.close()
            raise Changed(f"{self._url(key)}: the store sends no part of an object")
        pieces = self._pieces(key, connection, answer)
        tag = answer.headers.get("ETag", "")
        return Stream(version=tag, size=size, pieces=pieces, md5=self._tags.md5_in(tag), tags=self._tags)

    def _pieces(
        self, key: str, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
    ) -> Iterator[bytes]:
        try:
            while piece := answer.read(PIECE_BYTES):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(f"{self._url(key)}: cut off ({error})") from error
        finally:
            connection.close()

    def _get(
        self, key: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request that is answered with 200 or 206. Raises Changed, Missing, Refused, StoreError."""
        path = f"{self._place.above}/{quote(key.encode(), safe='/')}"
        signed = sign(self._credentials.current(), self._region, self._place.host, path, query, time.time(), headers)
        target = path + ("?" + _query(query) if query else "")
        connection = _connection(self._place)
        try:
            connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
            for name, value in signed.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            if answer.status in (http.client.OK, http.client.PARTIAL_CONTENT):
                return connection, answer
            body = answer.read(MOST_ERROR_BYTES)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise StoreError(f"{self._url(key)}: {type(error).__name__}: {error}") from error
        connection.close()
        raise _refusal(self._url(key), answer.status, body)

    def _url(self, key: str) -> str:
        return repr(f"s3://{self._bucket}/{key}")


def sign(
    credentials: Credentials,
    region: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    now: float,
    headers: Mapping[str, str],
) -> dict[str, str]:
    """The headers of a GET without a body, including its signature."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    found = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    found |= {name.lower(): value for name, value in headers.items()}
    if credentials.token:
        found["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(found))
    lines = "".join(f"{name}:{found[name].strip()}\n" for name in sorted(found))
    request = "\n".join(("GET", path, _query(query), lines, names, _EMPTY))
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret}".encode()
    for part in (stamp[:8], region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    found["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return found


def _query(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(query[name].encode(), safe='')}" for name in sorted(query))


def _connection(place: Place) -> http.client.HTTPConnection:
    if place.scheme == "http":
        return http.client.HTTPConnection(place.host, timeout=STILL_SECONDS)
    return http.client.HTTPSConnection(place.host, timeout=STILL_SECONDS)


def _refusal(where: str, status: int, body: bytes) -> StoreError:
    """Only code and message: S3 quotes the session token of a request that it refuses."""
    said = {name.decode(): text.decode(errors="replace") for name, text in _TEXT.findall(body)}
    code = said.get("Code", "")
    text = f"{where}: {status} {code}: {said.get('Message', '')}"[:400]
    if code in _OF_THE_MOMENT or status in (408, 429) or status >= 500:
        return StoreError(text)
    if status == http.client.PRECONDITION_FAILED:
        return Changed(text)
    if code == "NoSuchBucket":
        return Refused(f"{where}: there is no such bucket")
    if status == http.client.NOT_FOUND:
        return Missing(f"{where} is not there")
    return Refused(text)


def _listed(data: bytes, where: str) -> tuple[list[tuple[str, int]], str]:
    from xml.etree import ElementTree  # costs a few ms, which only listings pay

    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - expat bounds what entities may grow to
        found = []
        for each in root.iter():
            if _tag(each) == "Contents":
                fields = {_tag(child): child.text or "" for child in each}
                found.append((unquote_plus(fields["Key"], errors="strict"), int(fields["Size"])))
        fields = {_tag(child): child.text or "" for child in root}
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise StoreError(f"{where}: the list is not understood ({type(error).__name__}: {error})") from error
    if fields.get("IsTruncated") == "true" and not fields.get("NextContinuationToken"):
        raise StoreError(f"{where}: the list is cut off without a way to go on")
    return found, fields.get("NextContinuationToken", "") if fields.get("IsTruncated") == "true" else ""


def _tag(element: "Element") -> str:
    return element.tag.rpartition("}")[2]
