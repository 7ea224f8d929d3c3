"""Verifies AWS Signature Version 4, in headers or in a presigned URL, and S3's older query signature.

Follows "Signing AWS API requests" in the IAM user guide; tests use botocore's own signer as the oracle.
"""

import hashlib
import hmac
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from spotbatch.local.api.http import Head

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SKEW_SECONDS: Final = 15 * 60
_MAX_EXPIRES_SECONDS: Final = 7 * 24 * 3600
_UNRESERVED: Final = "-_.~"
_KEY_CACHE: Final = 64
_NEED_NO_SIGNATURE: Final = frozenset({"x-amz-user-agent", "x-amz-content-sha256"})  # says nothing; is compared itself
# S3 sub-resources that the old signature covers ("Signing and authenticating REST requests", S3 user guide).
_V2_SUBRESOURCES: Final = frozenset({
    "accelerate", "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
    "requestPayment", "restore", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions",
    "website", "response-cache-control", "response-content-disposition", "response-content-encoding",
    "response-content-language", "response-content-type", "response-expires",
})  # fmt: skip
# What else a URL with the old signature may contain: its own parameters, and how a bucket is listed.
_V2_UNSIGNED: Final = frozenset({
    "AWSAccessKeyId", "Signature", "Expires", "x-amz-security-token", "prefix", "marker", "max-keys", "delimiter",
    "encoding-type", "key-marker", "upload-id-marker", "version-id-marker", "max-uploads", "max-parts",
    "part-number-marker",
})  # fmt: skip


class SignatureRefused(Exception):
    """A request is unsigned, or its signature is invalid in this region."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # AWS's name for this failure in its JSON services
        self.message = message


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What a request states about its own signature."""

    access_key: str
    date: str  # YYYYMMDD
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str  # YYYYMMDDTHHMMSSZ, or for the old S3 signature the expiry time
    expires_seconds: int | None = None  # presigned only
    is_query: bool = False
    is_v2: bool = False


def claim_of(head: Head) -> Claim | None:
    """A request's claim, or None if it is not signed. Raises SignatureRefused if it is malformed."""
    authorization = head.header("authorization")
    try:
        if authorization.startswith(_ALGORITHM):
            return _header_claim(head, authorization)
        query = dict(parse_qsl(head.query, keep_blank_values=True)) if "Signature" in head.query else {}
        if query.get("X-Amz-Algorithm") == _ALGORITHM:
            return _query_claim(query)
        if {"AWSAccessKeyId", "Signature", "Expires"} <= query.keys():
            return Claim(
                access_key=query["AWSAccessKeyId"],
                date="",
                region="",
                service="s3",
                signed_headers=(),
                signature=query["Signature"],
                timestamp=query["Expires"],
                is_query=True,
                is_v2=True,
            )
    except (ValueError, KeyError) as error:
        raise SignatureRefused("IncompleteSignatureException", f"the signature cannot be read: {error}") from error
    return None


def with_scope(head: Head, claim: Claim) -> Head:
    """The head according to the verified claim: a single Authorization header, which names the service signed for.

    The backend selects the service by that header, or by the body if there is none.
    """
    scope = f"{claim.date or '19700101'}/{claim.region or '-'}/{claim.service}/aws4_request"
    signed = ";".join(claim.signed_headers)
    value = f"{_ALGORITHM} Credential={claim.access_key}/{scope}, SignedHeaders={signed}, Signature={claim.signature}"
    others = [(name, given) for name, given in head.headers if name != "authorization"]
    return replace(head, headers=[*others, ("authorization", value)])


def _header_claim(head: Head, authorization: str) -> Claim:
    parts = dict(part.strip().split("=", 1) for part in authorization[len(_ALGORITHM) :].split(","))
    access_key, date, region, service, _ = parts["Credential"].rsplit("/", 4)
    return Claim(
        access_key=access_key,
        date=date,
        region=region,
        service=service,
        signed_headers=tuple(parts["SignedHeaders"].split(";")),
        signature=parts["Signature"],
        timestamp=head.header("x-amz-date"),
    )


def _query_claim(query: dict[str, str]) -> Claim:
    access_key, date, region, service, _ = query["X-Amz-Credential"].rsplit("/", 4)
    return Claim(
        access_key=access_key,
        date=date,
        region=region,
        service=service,
        signed_headers=tuple(query["X-Amz-SignedHeaders"].split(";")),
        signature=query["X-Amz-Signature"],
        timestamp=query["X-Amz-Date"],
        expires_seconds=int(query["X-Amz-Expires"]),
        is_query=True,
    )


@dataclass(kw_only=True, slots=True)
class Verifier:
    """Checks claims against the secret of their access key."""

    secret_of: Callable[[str], str | None]
    clock: Callable[[], float] = time.time
    _keys: dict[tuple[str, str, str, str], bytes] = field(default_factory=dict)

    def may_be_right(self, head: Head, claim: Claim) -> bool:
        """Whether a request may still be validly signed once its body arrives: S3's heads show it before that."""
        if claim.service != "s3":
            return self.secret_of(claim.access_key) is not None
        try:
            self.verify(head, claim, None)
        except SignatureRefused:
            return False
        return True

    def verify(self, head: Head, claim: Claim, body_sha256: str | None) -> None:
        """Raises SignatureRefused unless the request, as sent, was signed with a secret that we know.

        For S3 the body's hash may be None until the body has arrived.
        """
        secret = self.secret_of(claim.access_key)
        if secret is None:
            message = f"the access key {claim.access_key[:24]!r} is not this region's; see `spotbatch local env`"
            raise SignatureRefused("UnrecognizedClientException", message)
        self._check_time(claim)
        _check_coverage(head, claim)
        if claim.is_v2:
            expected = [_v2_signature(head, claim, secret)]
        else:
            payload = self._payload_hash(head, claim, body_sha256)
            expected = [
                self._signature(claim, secret, canonical_request(head, claim, path, payload))
                for path in _canonical_paths(head.raw_path or "/", claim.service)
            ]
        given = claim.signature.encode("utf-8", "surrogatepass")
        if not any(hmac.compare_digest(one.encode(), given) for one in expected):
            message = "the signature does not match; see `spotbatch local env` for this region's credentials"
            raise SignatureRefused("InvalidSignatureException", message)

    def _check_time(self, claim: Claim) -> None:
        now = self.clock()
        if claim.is_v2:
            if not claim.timestamp.isdigit() or int(claim.timestamp) < now:
                raise SignatureRefused("AccessDeniedException", "the presigned URL has expired")
            return
        try:
            signed_at = datetime.strptime(claim.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            message = f"x-amz-date must be like 20260131T235959Z, not {claim.timestamp[:32]!r}"
            raise SignatureRefused("IncompleteSignatureException", message) from None
        if not claim.timestamp.startswith(claim.date):
            raise SignatureRefused("InvalidSignatureException", "the date of the credential is not that of x-amz-date")
        lives = _SKEW_SECONDS if claim.expires_seconds is None else min(claim.expires_seconds, _MAX_EXPIRES_SECONDS)
        if now > signed_at + lives or now < signed_at - _SKEW_SECONDS:
            raise SignatureRefused(
                "InvalidSignatureException", f"signature expired or not yet valid: {claim.timestamp}"
            )

    def _payload_hash(self, head: Head, claim: Claim, body_sha256: str | None) -> str:
        if claim.service != "s3":
            return body_sha256 or ""
        declared = "UNSIGNED-PAYLOAD" if claim.is_query else head.header("x-amz-content-sha256")
        if claim.is_query or declared == "UNSIGNED-PAYLOAD" or declared.startswith("STREAMING-"):
            return declared
        if body_sha256 is not None and declared != body_sha256:
            raise SignatureRefused("XAmzContentSHA256Mismatch", "x-amz-content-sha256 is not the hash of the body")
        return declared

    def _signature(self, claim: Claim, secret: str, canonical: str) -> str:
        scope = f"{claim.date}/{claim.region}/{claim.service}/aws4_request"
        digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
        text = f"{_ALGORITHM}\n{claim.timestamp}\n{scope}\n{digest}"
        return hmac.new(self._key(claim, secret), text.encode(), hashlib.sha256).hexdigest()

    def _key(self, claim: Claim, secret: str) -> bytes:
        named = (secret, claim.date, claim.region, claim.service)
        if (key := self._keys.get(named)) is not None:
            return key
        key = f"AWS4{secret}".encode()
        for part in (claim.date, claim.region, claim.service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        if len(self._keys) >= _KEY_CACHE:
            self._keys.clear()
        self._keys[named] = key
        return key


def _check_coverage(head: Head, claim: Claim) -> None:
    """Raises SignatureRefused if something that affects the request is not covered by its signature, as on AWS.

    Whoever received a presigned URL must not be able to change the request by adding to it.
    """
    if claim.is_query and head.headers_named("authorization"):
        raise SignatureRefused("InvalidSignatureException", "only one way of signing is allowed: header or query")
    if claim.is_v2:
        _check_v2_query(head)  # it covers all headers x-amz-*
        return
    steering = {"host", *(name for name, _ in head.headers if name.startswith("x-amz-"))} - _NEED_NO_SIGNATURE
    if unsigned := sorted(steering - set(claim.signed_headers)):
        message = f"there are headers that must be signed and are not: {', '.join(unsigned)[:200]}"
        raise SignatureRefused("InvalidSignatureException", message)


def canonical_request(head: Head, claim: Claim, path: str, payload_hash: str) -> str:
    """The text whose hash is signed."""
    headers = "".join(
        f"{name}:{','.join(' '.join(value.split()) for value in head.headers_named(name))}\n"
        for name in claim.signed_headers
    )
    query = _canonical_query(head.query, leave_out="X-Amz-Signature" if claim.is_query else None)
    return "\n".join((head.method, path, query, headers, ";".join(claim.signed_headers), payload_hash))


def _canonical_paths(path: str, service: str) -> list[str]:
    """The path as it may have been signed: escaped once more for every service except S3.

    S3 signs the key escaped once. Some clients send it otherwise, or sign `%2F` as is: both spellings are accepted.
    """
    if service != "s3":
        return [quote(_normalized(path), safe="/" + _UNRESERVED)]
    escaped = quote(unquote(path, errors="surrogateescape"), safe="/" + _UNRESERVED, errors="surrogateescape")
    return [path] if escaped == path else [path, escaped]


def _normalized(path: str) -> str:
    """Without `.`, `..` and doubled slashes, as signed by every service except S3."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            kept[-1:] = []
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept) + ("/" if path.endswith("/") and kept else "")


def _canonical_query(query: str, leave_out: str | None) -> str:
    pairs = []
    for part in query.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        name = unquote(name, errors="surrogateescape")
        if name != leave_out:
            # `+` is a literal plus under AWS's rules; a client that means a space sends %20
            pairs.append((_quoted(name), _quoted(unquote(value, errors="surrogateescape"))))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _quoted(text: str) -> str:
    return quote(text, safe=_UNRESERVED, errors="surrogateescape")


def _bucket_in_host(host: str) -> str:
    """What a host name before `localhost` adds to the signed resource under S3's old signature.

    "Signing and authenticating REST requests", S3 user guide: a bucket named in the Host header is part of the
    resource. Otherwise, whoever has a URL for one bucket could send it to another bucket's host.
    """
    name = host.rpartition(":")[0]
    return f"/{name.removesuffix('.localhost')}" if name.endswith(".localhost") else ""


def _check_v2_query(head: Head) -> None:
    """Raises SignatureRefused for a parameter that affects S3 and that the old signature does not cover."""
    names = {part.partition("=")[0] for part in head.query.split("&") if part}
    if unknown := sorted(names - _V2_SUBRESOURCES - _V2_UNSIGNED):
        message = f"parameters that the old S3 signature does not cover: {', '.join(unknown)[:200]}"
        raise SignatureRefused("InvalidSignatureException", message)


def _v2_signature(head: Head, claim: Claim, secret: str) -> str:
    amz = sorted({name for name, _ in head.headers if name.startswith("x-amz-")})
    amz_lines = "".join(f"{name}:{','.join(head.headers_named(name))}\n" for name in amz)
    pairs = [part.partition("=") for part in head.query.split("&") if part]
    signed = sorted((name, unquote(value)) for name, _, value in pairs if name in _V2_SUBRESOURCES)
    resource = _bucket_in_host(head.header("host")) + head.raw_path
    if signed:
        resource += "?" + "&".join(f"{name}={value}" if value else name for name, value in signed)
    text = "\n".join((head.method, head.header("content-md5"), head.header("content-type"), claim.timestamp, ""))
    digest = hmac.new(secret.encode(), f"{text}{amz_lines}{resource}".encode(), hashlib.sha1).digest()
    return b64encode(digest).decode()
