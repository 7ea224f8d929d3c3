"""What is not ours goes to moto unharmed: S3 keys, metadata and bodies in every form in which clients send them."""

import hashlib
import http.client
import io
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from tests.contract.local_api_region import RunningRegion, refusal, running

BUCKET = "bucket-of-tests"
KEYS = [
    "plain",
    "a/b c",
    "a%2Fb",
    "?x=1&y",
    "#top",
    "é/ü",
    "a+b",
    "a//b",
    "../up",
    "~tilde.-_",
    "x" * 1000,
    "a=b;c,d:e@f$g",
]
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home") as started:
        started.client("s3").create_bucket(Bucket=BUCKET)
        yield started


@pytest.fixture(scope="module")
def s3(region: RunningRegion) -> Any:
    return region.client("s3")


def put_by_hand(region: RunningRegion, key: str, body: Any, headers: dict[str, str], payload: str, **how: Any) -> int:
    """A PUT whose body's form boto3 would not choose. Returns the status."""
    path = f"/{BUCKET}/{quote(key)}"
    request = AWSRequest(
        method="PUT", url=region.info.endpoint + path, headers={**headers, "X-Amz-Content-SHA256": payload}
    )
    signer = S3SigV4Auth(Credentials(region.info.access_key, region.info.secret_key), "s3", "us-east-1")
    request.context["payload_signing_enabled"] = False
    signer.payload = lambda request: payload  # type: ignore[method-assign]  # noqa: ARG005  (its signature)
    signer.add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", region.port, timeout=30)
    sent = {name: value for name, value in request.headers.items() if name.lower() != "x-amz-content-sha256"}
    connection.request("PUT", path, body=body, headers={**sent, "X-Amz-Content-SHA256": payload}, **how)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize("key", KEYS)
def test_a_key_comes_back_as_it_was_put(s3: Any, key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=key)["Contents"]
    assert key in [one["Key"] for one in listed]
    s3.delete_object(Bucket=BUCKET, Key=key)


def test_metadata_names_keep_their_underscores(s3: Any) -> None:
    metadata = {"my_key": "1", "my-other": "2"}
    s3.put_object(Bucket=BUCKET, Key="meta", Body=b"", Metadata=metadata)
    assert s3.head_object(Bucket=BUCKET, Key="meta")["Metadata"] == metadata


@pytest.mark.parametrize("size", [0, 1, 65_536, MEBIBYTE, MEBIBYTE + 1, 5 * MEBIBYTE])
def test_a_body_of_any_size_is_whole(s3: Any, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    s3.put_object(Bucket=BUCKET, Key="sized", Body=content)
    assert s3.get_object(Bucket=BUCKET, Key="sized")["Body"].read() == content
    assert s3.head_object(Bucket=BUCKET, Key="sized")["ContentLength"] == size


def test_a_part_of_an_object_is_read(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="part", Body=b"0123456789")
    answer = s3.get_object(Bucket=BUCKET, Key="part", Range="bytes=2-4")
    assert (answer["Body"].read(), answer["ResponseMetadata"]["HTTPStatusCode"]) == (b"234", 206)


def test_an_upload_in_parts_is_joined(s3: Any) -> None:
    first, last = b"a" * (5 * MEBIBYTE), b"b" * 10
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    tags = [
        s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=number, Body=part)["ETag"]
        for number, part in enumerate((first, last), start=1)
    ]
    parts = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]}
    s3.complete_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == first + last


def test_a_chunked_request_without_a_length_is_whole(region: RunningRegion, s3: Any) -> None:
    content = b"chunked " * 20_000
    status = put_by_hand(
        region,
        "chunked",
        iter([content[:7], content[7:]]),
        {},
        hashlib.sha256(content).hexdigest(),
        encode_chunked=True,
    )
    assert status == 200
    assert s3.get_object(Bucket=BUCKET, Key="chunked")["Body"].read() == content


def test_an_aws_chunked_body_is_unwrapped(region: RunningRegion, s3: Any) -> None:
    content = b"wrapped " * 1000
    body = f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    headers = {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Decoded-Content-Length": str(len(content)),
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }
    status = put_by_hand(region, "wrapped", body, headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert status == 200
    assert s3.get_object(Bucket=BUCKET, Key="wrapped")["Body"].read() == content


def test_an_unsigned_payload_is_taken_as_it_is(region: RunningRegion, s3: Any) -> None:
    assert put_by_hand(region, "unsigned", b"free", {}, "UNSIGNED-PAYLOAD") == 200
    assert s3.get_object(Bucket=BUCKET, Key="unsigned")["Body"].read() == b"free"


def test_a_body_that_waits_for_continue_is_read(region: RunningRegion, s3: Any) -> None:
    s3.upload_fileobj(io.BytesIO(b"y" * 100_000), BUCKET, "continued")
    assert s3.head_object(Bucket=BUCKET, Key="continued")["ContentLength"] == 100_000


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls_of_both_kinds_work(region: RunningRegion, s3: Any, version: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="a/b c%2F?é", Body=b"presigned")
    signer = region.client("s3", signature_version=version)
    url = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a/b c%2F?é"})
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310  (http, by our own region)
        assert answer.read() == b"presigned"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_for_an_object_opens_no_other_service(region: RunningRegion, s3: Any, version: str) -> None:
    iam = region.client("iam")
    users = {user["UserName"] for user in iam.list_users()["Users"]}
    signer = region.client("s3", signature_version=version)
    url = signer.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "given"})
    body = b"Action=CreateUser&UserName=intruder&Version=2010-05-08"
    path = url.removeprefix(region.info.endpoint)
    form = {"Content-Type": "application/x-www-form-urlencoded"} if version == "s3v4" else {}
    scope = "Credential=k/20260101/us-east-1/iam/aws4_request"
    for more in ({}, {"Authorization": f"AWS {scope}"}, {"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.X"}):
        connection = http.client.HTTPConnection("127.0.0.1", region.port, timeout=30)
        connection.request("PUT", path, body=body, headers={**form, **more})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == (403 if more else 200)
    assert {user["UserName"] for user in iam.list_users()["Users"]} == users
    assert s3.get_object(Bucket=BUCKET, Key="given")["Body"].read() == body


def sent(region: RunningRegion, method: str, path: str, host: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", region.port, timeout=30)
    connection.request(method, path, body=body or None, headers={"Host": f"{host}:{region.port}"})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_of_one_bucket_opens_no_other_by_another_host(
    region: RunningRegion, s3: Any, version: str
) -> None:
    for bucket in ("pub", "secret"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="secret", Key="pub/x", Body=b"secret")
    s3.put_object(Bucket="pub", Key="x", Body=b"public")
    signer = region.client("s3", signature_version=version)
    urls = {
        method: signer.generate_presigned_url(operation, Params={"Bucket": "pub", "Key": "x"})
        for method, operation in (("GET", "get_object"), ("PUT", "put_object"), ("DELETE", "delete_object"))
    }
    for method, url in urls.items():
        path = url.removeprefix(region.info.endpoint)
        for host in ("secret.localhost", "SECRET.localhost", "a.secret.localhost", "s3.localhost"):
            assert sent(region, method, path, host, b"forged" if method == "PUT" else b"")[0] == 403, (method, host)
    assert s3.get_object(Bucket="secret", Key="pub/x")["Body"].read() == b"secret"
    assert sent(region, "GET", urls["GET"].removeprefix(region.info.endpoint), "127.0.0.1") == (200, b"public")


def test_an_old_presigned_url_that_names_its_bucket_in_the_host_works(region: RunningRegion, s3: Any) -> None:
    s3.create_bucket(Bucket="hosted")
    s3.put_object(Bucket="hosted", Key="k", Body=b"by host")
    signer = boto3.client(
        "s3",
        endpoint_url=f"http://localhost:{region.port}",
        region_name="us-east-1",
        aws_access_key_id=region.info.access_key,
        aws_secret_access_key=region.info.secret_key,
        config=Config(signature_version="s3", s3={"addressing_style": "virtual"}),
    )
    url = signer.generate_presigned_url("get_object", Params={"Bucket": "hosted", "Key": "k"})
    host, path = url.removeprefix("http://").split("/", 1)
    assert host == f"hosted.localhost:{region.port}"
    assert sent(region, "GET", f"/{path}", "hosted.localhost") == (200, b"by host")


@pytest.mark.parametrize("extra", ["&retention", "&legal-hold", "&%61cl", "&ac%6C", "&attributes", "&x=1"])
def test_what_the_old_signature_does_not_cover_makes_no_other_request_of_it(
    region: RunningRegion, s3: Any, extra: str
) -> None:
    s3.put_object(Bucket=BUCKET, Key="covered", Body=b"x")
    signer = region.client("s3", signature_version="s3")
    url = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "covered"})
    assert sent(region, "GET", url.removeprefix(region.info.endpoint) + extra, "127.0.0.1")[0] == 403


def test_the_account_is_the_regions(region: RunningRegion) -> None:
    assert region.client("sts").get_caller_identity()["Account"] == region.info.account_id


def test_logs_of_other_groups_stay_with_moto(region: RunningRegion) -> None:
    logs = region.client("logs")
    logs.create_log_group(logGroupName="/mine")
    logs.create_log_stream(logGroupName="/mine", logStreamName="s")
    logs.put_log_events(
        logGroupName="/mine", logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": "kept"}]
    )
    events = logs.get_log_events(logGroupName="/mine", logStreamName="s", startFromHead=True)["events"]
    assert [event["message"] for event in events] == ["kept"]
    assert logs.describe_log_streams(logGroupName="/mine")["logStreams"][0]["logStreamName"] == "s"


def test_other_services_answer(region: RunningRegion) -> None:
    zones = region.client("ec2").describe_availability_zones()["AvailabilityZones"]
    assert {zone["RegionName"] for zone in zones} == {"us-east-1"}
    role = region.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]
    assert role["Arn"] == "arn:aws:iam::123456789012:role/r"


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("ec2", "describe_capacity_reservation_fleets", {}),
        ("cloudformation", "describe_account_limits", {}),
        ("logs", "get_log_record", {"logRecordPointer": "x"}),
        ("apprunner", "list_services", {}),
    ],
)
def test_what_moto_does_not_know_is_said_in_the_services_own_form(
    region: RunningRegion, service: str, operation: str, parameters: dict[str, str]
) -> None:
    said = refusal(getattr(region.client(service), operation), **parameters)
    assert said.startswith(f"NotImplemented: moto, which answers for {service} here, cannot do this")


def test_temporary_credentials_and_a_users_keys_are_accepted_back(region: RunningRegion) -> None:
    sts, iam = region.client("sts"), region.client("iam")
    lent = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="session")["Credentials"]
    iam.create_user(UserName="somebody")
    kept = iam.create_access_key(UserName="somebody")["AccessKey"]
    for given, token in ((lent, lent["SessionToken"]), (kept, None)):
        asked: Any = {"endpoint_url": region.info.endpoint, "region_name": "us-east-1", "aws_session_token": token}
        key, secret = given["AccessKeyId"], given["SecretAccessKey"]
        batch = boto3.client("batch", aws_access_key_id=key, aws_secret_access_key=secret, **asked)
        assert batch.describe_job_queues()["jobQueues"] == []
        forged = boto3.client("batch", aws_access_key_id=key, aws_secret_access_key="guessed", **asked)
        assert "InvalidSignatureException" in refusal(forged.describe_job_queues)
