"""Signatures: what botocore signs is accepted, and nothing else."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from spotbatch.local.api.http import Head
from spotbatch.local.api.sigv4 import SignatureRefused, Verifier, canonical_request, claim_of, with_scope

ENDPOINT = "http://127.0.0.1:4566"
KEY, SECRET = "LKIA0123456789ABCDEF", "secret/with+signs="
CREDENTIALS = Credentials(KEY, SECRET)

ESCAPED = st.text(st.sampled_from("abcXYZ019-_.~%/:@+=, é"), max_size=20)


def verifier(now: Callable[[], float] = time.time) -> Verifier:
    return Verifier(secret_of={KEY: SECRET}.get, clock=now)


def head_of(request: AWSRequest, *, method: str | None = None) -> Head:
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = [
        (name.lower(), value if isinstance(value, str) else value.decode()) for name, value in prepared.headers.items()
    ]
    if not any(name == "host" for name, _ in headers):
        headers.append(("host", parts.netloc))
    return Head(method=method or prepared.method, raw_path=parts.path, query=parts.query, headers=headers)


def accepted(head: Head, body: bytes = b"", *, by: Verifier | None = None) -> bool:
    claim = claim_of(head)
    assert claim is not None
    try:
        (by or verifier()).verify(head, claim, hashlib.sha256(body).hexdigest())
    except SignatureRefused:
        return False
    return True


def signed(
    service: str, body: bytes = b"{}", *, url: str = f"{ENDPOINT}/v1/submitjob", method: str = "POST"
) -> AWSRequest:
    request = AWSRequest(method=method, url=url, data=body, headers={"X-Amz-Target": "A.B", "Content-Type": "text/x"})
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(CREDENTIALS, service, "us-east-1").add_auth(request)
    return request


def test_what_botocore_signs_is_accepted() -> None:
    assert accepted(head_of(signed("batch")), b"{}")


def test_an_arn_in_the_path_is_escaped_twice() -> None:
    url = f"{ENDPOINT}/v1/tags/arn%3Aaws%3Abatch%3Aus-east-1%3A123456789012%3Ajob-queue%2Fq?tagKeys=a&tagKeys=b%20c"
    assert accepted(head_of(signed("batch", url=url, method="DELETE")), b"{}")


@given(body=st.binary(max_size=40), key=ESCAPED, query=st.lists(st.tuples(ESCAPED, ESCAPED), max_size=3))
def test_any_s3_key_and_query_that_botocore_signs_is_accepted(
    body: bytes, key: str, query: list[tuple[str, str]]
) -> None:
    from urllib.parse import quote

    text = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query if name)
    url = f"{ENDPOINT}/bucket/{quote(key, safe='/-_.~')}" + (f"?{text}" if text else "")
    assert accepted(head_of(signed("s3", body, url=url, method="PUT")), body)


@pytest.mark.parametrize("change", ["body", "method", "path", "header", "secret", "key"])
def test_a_request_that_was_changed_after_it_was_signed_is_refused(change: str) -> None:
    request = signed("batch")
    head = head_of(request, method="GET" if change == "method" else None)
    if change == "path":
        head = Head(method=head.method, raw_path="/v1/terminatejob", query=head.query, headers=head.headers)
    if change == "header":
        headers = [(name, "C.D" if name == "x-amz-target" else value) for name, value in head.headers]
        head = Head(method=head.method, raw_path=head.raw_path, query=head.query, headers=headers)
    secrets = {"secret": {KEY: "another"}, "key": {"another": SECRET}}.get(change, {KEY: SECRET})
    body = b'{"x":1}' if change == "body" else b"{}"
    assert not accepted(head, body, by=Verifier(secret_of=secrets.get))


def test_an_s3_body_that_is_not_what_its_hash_says_is_refused() -> None:
    head = head_of(signed("s3", b"one", url=f"{ENDPOINT}/bucket/key", method="PUT"))
    assert accepted(head, b"one")
    assert not accepted(head, b"two")


def test_a_signature_lasts_fifteen_minutes() -> None:
    head = head_of(signed("batch"))
    now = time.time()
    assert accepted(head, b"{}", by=verifier(lambda: now + 14 * 60))
    assert not accepted(head, b"{}", by=verifier(lambda: now + 16 * 60))
    assert not accepted(head, b"{}", by=verifier(lambda: now - 16 * 60))


@pytest.mark.parametrize("scheme", ["v4", "v2"])
def test_a_presigned_url_is_accepted_until_it_expires(scheme: str) -> None:
    request = AWSRequest(method="GET", url=f"{ENDPOINT}/bucket/a%2Fb?versionId=1")
    signer = (
        S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", expires=60)
        if scheme == "v4"
        else HmacV1QueryAuth(CREDENTIALS, expires=60)
    )
    signer.add_auth(request)
    head = head_of(request)
    now = time.time()
    assert accepted(head)
    assert not accepted(head, by=verifier(lambda: now + 120))
    other = Head(method=head.method, raw_path="/bucket/c", query=head.query, headers=head.headers)
    assert not accepted(other)


def test_an_unsigned_request_makes_no_claim() -> None:
    assert claim_of(Head(method="GET", raw_path="/", query="", headers=[("host", "x")])) is None


@given(value=st.text(st.characters(max_codepoint=255), max_size=120))
def test_a_garbled_authorization_is_refused_and_breaks_nothing(value: str) -> None:
    head = Head(method="GET", raw_path="/", query="", headers=[("authorization", f"AWS4-HMAC-SHA256{value}")])
    try:
        claim = claim_of(head)
    except SignatureRefused:
        return
    assert claim is not None
    with pytest.raises(SignatureRefused):
        verifier().verify(head, claim, "")


def with_header(head: Head, name: str, value: str) -> Head:
    return Head(method=head.method, raw_path=head.raw_path, query=head.query, headers=[*head.headers, (name, value)])


@pytest.mark.parametrize("name", ["x-amz-target", "x-amz-copy-source", "x-amz-security-token"])
def test_a_steering_header_that_was_added_after_signing_is_refused(name: str) -> None:
    head = head_of(signed("s3", b"one", url=f"{ENDPOINT}/bucket/key", method="PUT"))
    headers = [(given, value) for given, value in head.headers if given != name]
    signed_without = Head(method="PUT", raw_path=head.raw_path, query="", headers=headers)
    claim = claim_of(signed_without)
    assert claim is not None
    if name not in claim.signed_headers:
        assert not accepted(with_header(head, name, "other"), b"one")
    assert not accepted(with_header(head, "x-amz-meta-more", "other"), b"one")
    assert accepted(with_header(head, "x-amz-user-agent", "says nothing"), b"one")


def test_a_signature_that_leaves_the_host_out_is_refused() -> None:
    head = head_of(signed("batch"))
    claim = claim_of(head)
    assert claim is not None
    without = dataclasses.replace(claim, signed_headers=tuple(one for one in claim.signed_headers if one != "host"))
    by = verifier()
    text = canonical_request(head, without, head.raw_path, hashlib.sha256(b"{}").hexdigest())
    forged = dataclasses.replace(without, signature=by._signature(without, SECRET, text))
    with pytest.raises(SignatureRefused, match="must be signed and are not: host"):
        by.verify(head, forged, hashlib.sha256(b"{}").hexdigest())


@pytest.mark.parametrize("scheme", ["v4", "v2"])
def test_a_presigned_url_with_another_authorization_beside_it_is_refused(scheme: str) -> None:
    request = AWSRequest(method="PUT", url=f"{ENDPOINT}/bucket/key")
    query = S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", expires=60)
    (query if scheme == "v4" else HmacV1QueryAuth(CREDENTIALS, expires=60)).add_auth(request)
    head = head_of(request)
    assert accepted(head)
    assert not accepted(with_header(head, "authorization", "AWS x Credential=k/20260101/us-east-1/iam/aws4_request"))


@pytest.mark.parametrize("scheme", ["v4", "v2"])
def test_what_is_passed_on_names_the_service_that_was_signed_for(scheme: str) -> None:
    request = AWSRequest(method="PUT", url=f"{ENDPOINT}/bucket/key")
    query = S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", expires=60)
    (query if scheme == "v4" else HmacV1QueryAuth(CREDENTIALS, expires=60)).add_auth(request)
    head = head_of(request)
    claim = claim_of(head)
    assert claim is not None
    (authorization,) = with_scope(head, claim).headers_named("authorization")
    assert authorization.split(",")[0].split()[1].split("/")[3] == "s3"
