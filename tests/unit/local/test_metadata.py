"""What a simulated host's metadata service answers, and its sessions."""

import json
from dataclasses import replace

import pytest

from spotbatch.local.metadata.answers import HostFacts, answer
from spotbatch.local.metadata.sessions import Sessions

HOST = HostFacts(
    instance_id="i-0123456789abcdef0",
    instance_type="c5.large",
    zone="us-east-1b",
    region="us-east-1",
    account_id="123456789012",
    partition="aws",
    domain="amazonaws.com",
    is_spot=True,
    architecture="x86_64",
    environment="ce",
    launched_at=1_796_005_603.5,
)
NOTICED = replace(HOST, reclaim_at=1_796_005_723.0, rebalance_at=1_796_005_603.0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/latest/meta-data/instance-id", "i-0123456789abcdef0"),
        ("/latest/meta-data/instance-id/", "i-0123456789abcdef0"),
        ("/2021-03-23/meta-data/instance-type", "c5.large"),
        ("/latest/meta-data/instance-life-cycle", "spot"),
        ("/latest/meta-data/placement/availability-zone", "us-east-1b"),
        ("/latest/meta-data/placement/", "availability-zone\nregion"),
        ("/latest", "dynamic/\nmeta-data/"),
        ("/latest/meta-data/events/maintenance/scheduled", "[]"),
    ],
)
def test_a_path_is_answered_as_ec2_does(path: str, body: str) -> None:
    found = answer(HOST, path)
    assert found is not None
    assert found.body == body


@pytest.mark.parametrize(
    "path",
    [
        "/latest/meta-data/spot/instance-action",
        "/latest/meta-data/spot",
        "/latest/meta-data/events/recommendations/rebalance",
        "/latest/meta-data/iam/security-credentials/",
        "/latest/meta-data/nothing",
        "/latest/meta-data/instance-id/more",
        "/latest//meta-data",
        "/1999-01-01/meta-data/instance-id",
    ],
)
def test_what_the_host_does_not_have_is_not_found(path: str) -> None:
    assert answer(HOST, path) is None


def test_a_host_under_notice_tells_of_it_at_both_places() -> None:
    action = answer(NOTICED, "/latest/meta-data/spot/instance-action")
    moment = answer(NOTICED, "/latest/meta-data/spot/termination-time")
    advice = answer(NOTICED, "/latest/meta-data/events/recommendations/rebalance")
    assert action is not None
    assert moment is not None
    assert advice is not None
    assert json.loads(action.body) == {"action": "terminate", "time": moment.body}
    assert action.content_type == "application/json"
    assert moment.body.endswith("Z")
    assert list(json.loads(advice.body)) == ["noticeTime"]


def test_the_identity_document_names_the_host() -> None:
    document = answer(HOST, "/latest/dynamic/instance-identity/document")
    assert document is not None
    said = json.loads(document.body)
    assert (said["instanceId"], said["region"], said["accountId"]) == (HOST.instance_id, HOST.region, HOST.account_id)
    assert said["imageId"] == getattr(answer(HOST, "/latest/meta-data/ami-id"), "body", None)


SESSIONS = Sessions(key=b"secret")


@pytest.mark.parametrize("ttl", ["", "0", "21601", "-1", "1.5", "ten", "²", "9" * 5000, "000021600"])
def test_a_session_lasts_one_second_to_six_hours(ttl: str) -> None:
    assert SESSIONS.token("i-1", ttl, 1000.0) is None


def test_a_token_is_good_for_its_instance_until_its_end() -> None:
    token = SESSIONS.token("i-1", "60", 1000.0)
    assert token is not None
    assert SESSIONS.is_valid("i-1", token, 1059.0)
    assert not SESSIONS.is_valid("i-1", token, 1060.0)
    assert not SESSIONS.is_valid("i-2", token, 1001.0)
    assert not Sessions(key=b"other").is_valid("i-1", token, 1001.0)


@pytest.mark.parametrize("token", ["", "nonsense", "é", "A" * 10_000, "MTA2MC4="])
def test_a_made_up_token_is_refused(token: str) -> None:
    assert not SESSIONS.is_valid("i-1", token, 0.0)
