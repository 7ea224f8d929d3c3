"""EC2 and ECS, as far as clients of AWS Batch ask them: the way from a job to its host, and EC2's own limits."""

from collections.abc import Iterator
from typing import Any

import pytest

from spotbatch.aws.hosts import Hosts
from tests.contract.local_api_region import RunningRegion, refusal, running


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("region") / "home", "--boot-seconds", "0.05") as started:
        yield started


@pytest.fixture(scope="module")
def ec2(region: RunningRegion) -> Any:
    return region.client("ec2", parameter_validation=False)  # botocore would refuse some of it before EC2 can


def ids(count: int) -> list[str]:
    return [f"i-{number:017x}" for number in range(count)]


@pytest.mark.parametrize(
    "filters",
    [
        [{"Name": "instance-id", "Values": ids(201)}],
        [{"Name": "instance-id", "Values": ids(150)}, {"Name": "tag:a", "Values": ids(51)}],
    ],
)
@pytest.mark.parametrize("operation", ["describe_instances", "describe_subnets", "describe_volumes"])
def test_more_than_200_filter_values_in_one_call_are_refused(ec2: Any, operation: str, filters: Any) -> None:
    said = refusal(getattr(ec2, operation), Filters=filters)
    assert said == ("FilterLimitExceeded: The maximum number of filter values specified on a single call is 200")


def test_200_filter_values_are_answered(ec2: Any) -> None:
    assert ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": ids(200)}])["Reservations"] == []


def test_the_product_asks_of_any_number_of_hosts_in_pieces(ec2: Any) -> None:
    assert Hosts(ecs=None, ec2=ec2).launches(ids(450)) == {}


@pytest.mark.parametrize(
    ("operation", "asked", "code"),
    [
        ("describe_instances", {"MaxResults": 4}, "InvalidParameterValue"),
        ("describe_instances", {"MaxResults": 1001}, "InvalidParameterValue"),
        ("describe_instances", {"MaxResults": 5, "InstanceIds": ids(1)}, "InvalidParameterCombination"),
        ("describe_instances", {"InstanceIds": ["i-nonsense"]}, "InvalidInstanceID.Malformed"),
        ("describe_instances", {"InstanceIds": ids(1)}, "InvalidInstanceID.NotFound"),
        ("describe_vpcs", {"MaxResults": 4}, "InvalidParameterValue"),
        ("describe_launch_templates", {"MaxResults": 201}, "InvalidParameterValue"),
        ("describe_instance_types", {"MaxResults": 101}, "InvalidParameterValue"),
    ],
)
def test_what_ec2_refuses_is_refused(ec2: Any, operation: str, asked: Any, code: str) -> None:
    assert refusal(getattr(ec2, operation), **asked).startswith(f"{code}: ")


def test_a_page_of_a_size_that_ec2_takes_is_answered(ec2: Any) -> None:
    assert ec2.describe_vpcs(MaxResults=5)["Vpcs"]
