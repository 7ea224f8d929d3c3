"""Which hosts an experiment of the Fault Injection Service interrupts."""

import random
from typing import Any

import pytest

from spotbatch.local.api.fault_injection import ACTION, Candidate, ExperimentRefused, Interruption, interruptions
from spotbatch.local.host_view import HostView


def candidate(number: int, *, zone: str = "us-east-1a", **tags: str) -> Candidate:
    host = HostView(
        instance_id=f"i-{number:017x}",
        instance_type="c5.large",
        zone=zone,
        environment="ce",
        is_spot=True,
        vcpus=2,
        memory_mib=4096,
        launched_at=1.0,
        started_at=2.0,
        noticed_at=None,
        ended_at=None,
        end_cause=None,
        running=1,
    )
    return Candidate(host=host, arn=f"arn:aws:ec2:us-east-1:123456789012:instance/{host.instance_id}", tags=tags)


HOSTS = [candidate(1, team="a"), candidate(2, team="a", zone="us-east-1b"), candidate(3), candidate(4)]


def experiment(duration: str = "PT2M", **target: Any) -> dict[str, Any]:
    """As the guide's own example has it: one action, one target of Spot Instances."""
    return {
        "actions": {
            "interrupt": {
                "actionId": ACTION,
                "parameters": {"durationBeforeInterruption": duration},
                "targets": {"SpotInstances": "spots"},
            }
        },
        "targets": {"spots": {"resourceType": "aws:ec2:spot-instance", "selectionMode": "ALL", **target}},
    }


def chosen(asked: dict[str, Any]) -> list[Interruption]:
    return interruptions(asked, HOSTS, random.Random(1))


@pytest.mark.parametrize(
    ("target", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"resourceTags": {"team": "a"}}, [1, 2]),
        ({"resourceArns": [HOSTS[2].arn]}, [3]),
        ({"filters": [{"path": "Placement.AvailabilityZone", "values": ["us-east-1b"]}]}, [2]),
        ({"filters": [{"path": "State.Name", "values": ["running"]}], "resourceTags": {"team": "a"}}, [1, 2]),
    ],
)
def test_a_target_means_hosts_by_tag_arn_and_attribute(target: dict[str, Any], numbers: list[int]) -> None:
    (found,) = chosen(experiment(**target))
    assert found.instance_ids == tuple(f"i-{one:017x}" for one in numbers)
    assert found.wait_seconds == 0


@pytest.mark.parametrize(("mode", "count"), [("COUNT(1)", 1), ("COUNT(99)", 4), ("PERCENT(50)", 2), ("PERCENT(10)", 0)])
def test_a_selection_takes_some_of_them(mode: str, count: int) -> None:
    (found,) = chosen(experiment(selectionMode=mode))
    assert len(found.instance_ids) == count


def test_the_notice_comes_two_minutes_before_the_interruption() -> None:
    assert [one.wait_seconds for one in chosen(experiment("PT5M"))] == [180]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (experiment("PT1M"), "PT2M to PT15M"),
        (experiment("PT16M"), "PT2M to PT15M"),
        (experiment("120"), "PT2M to PT15M"),
        (experiment(resourceTags={"team": "b"}), "empty set"),
        (experiment(selectionMode="MOST"), "COUNT"),
        (experiment(resourceType="aws:ec2:instance"), "aws:ec2:spot-instance"),
    ],
)
def test_what_cannot_be_done_fails_with_its_reason(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentRefused, match=words.replace("(", r"\(")):
        chosen(asked)


def test_more_hosts_than_the_quota_are_refused() -> None:
    with pytest.raises(ExperimentRefused, match="at most 5"):
        interruptions(experiment(), [candidate(one) for one in range(6)], random.Random(1))


def test_other_actions_are_none_of_ours() -> None:
    assert chosen({"actions": {"wait": {"actionId": "aws:fis:wait"}}, "targets": {}}) == []
