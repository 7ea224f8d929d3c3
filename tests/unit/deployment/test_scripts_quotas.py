"""Which vCPU quotas a template draws on: by class of family and by purchase, never the largest number of all."""

from typing import Any

import pytest

from spotbatch.aws.quotas import demands, quota_of


def environment(kind: str, maximum: int, *types: str) -> dict[str, Any]:
    compute = {"Type": kind, "MaxvCpus": maximum, "InstanceTypes": list(types)}
    return {"Type": "AWS::Batch::ComputeEnvironment", "Properties": {"ComputeResources": compute}}


def by_code(*environments: dict[str, Any]) -> dict[str, int]:
    resources = {f"E{at}": each for at, each in enumerate(environments)}
    found = demands({"Resources": {**resources, "Other": {"Type": "AWS::S3::Bucket"}}})
    return {quota.code: vcpus for quota, vcpus in found.items()}


def test_spot_and_on_demand_draw_on_quotas_of_their_own() -> None:
    both = by_code(environment("SPOT", 256, "c5.large", "m5"), environment("EC2", 64, "c5.large"))
    assert both == {"L-34B43A08": 256, "L-1216C47A": 64}


def test_two_environments_of_one_class_add_up() -> None:
    assert by_code(environment("SPOT", 256, "c5"), environment("SPOT", 100, "r6i.xlarge")) == {"L-34B43A08": 356}


def test_gpu_hosts_do_not_count_as_standard_ones_and_a_mixed_environment_counts_in_each_class() -> None:
    assert by_code(environment("SPOT", 32, "g5.xlarge", "g4dn")) == {"L-3819A6DF": 32}
    assert by_code(environment("SPOT", 32, "g5.xlarge", "p3.2xlarge")) == {"L-3819A6DF": 32, "L-7212CCBC": 32}


def test_fargate_draws_on_no_ec2_quota() -> None:
    assert by_code(environment("FARGATE_SPOT", 256)) == {}


@pytest.mark.parametrize(
    ("name", "spot", "on_demand"),
    [
        ("c7g.large", "L-34B43A08", "L-1216C47A"),
        ("im4gn.large", "L-34B43A08", "L-1216C47A"),
        ("is4gen.large", "L-34B43A08", "L-1216C47A"),
        ("i3en.large", "L-34B43A08", "L-1216C47A"),
        ("d3.xlarge", "L-34B43A08", "L-1216C47A"),
        ("dl1.24xlarge", "L-85EED4F7", "L-6E869C2A"),
        ("inf2.xlarge", "L-B5D1601B", "L-1945791B"),
        ("t3.large", "L-34B43A08", "L-1216C47A"),
        ("trn1.2xlarge", "L-6B0D517C", "L-2C3B7624"),
        ("g6.xlarge", "L-3819A6DF", "L-DB2E81BA"),
        ("gr6.4xlarge", "L-3819A6DF", "L-DB2E81BA"),
        ("vt1.3xlarge", "L-3819A6DF", "L-DB2E81BA"),
        ("p4d.24xlarge", "L-7212CCBC", "L-417A185B"),
        ("p5.48xlarge", "L-C4BD4855", "L-417A185B"),
        ("f1.2xlarge", "L-88CF9481", "L-74FC7D96"),
        ("x2iedn.xlarge", "L-E3A00192", "L-7295265B"),
        ("hpc7a.12xlarge", None, "L-F7808C92"),
        ("unheard-of.large", None, None),
    ],
)
def test_a_family_belongs_to_the_class_of_its_letters(name: str, spot: str | None, on_demand: str | None) -> None:
    for is_spot, code in ((True, spot), (False, on_demand)):
        found = quota_of(name, is_spot=is_spot)
        assert (found.code if found else None) == code


def test_every_family_that_the_settings_allow_has_a_class() -> None:
    from spotbatch.infra.families import families

    assert [name for name in sorted(families()) if quota_of(name, is_spot=False) is None] == []
