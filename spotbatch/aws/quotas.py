"""EC2's vCPU quotas: which ones a template's compute environments draw on, how much, and the account's limits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.batch.errors import SpotbatchError

_SERVICE: Final = "ec2"
_SPOT: Final = "SPOT"
_ON_DEMAND: Final = "EC2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """One quota of the service ec2, counted in vCPUs running at once in a region."""

    code: str
    name: str


# The class of an instance family, by its leading letters; the longest match counts (dl1 is not d).
# Codes and names as Service Quotas lists them; docs/verified.md says which could not be checked.
_STANDARD: Final = re.compile(r"(a|c|d|h|i|m|r|t|z|is|im|mac)\d")
_CLASSES: Final[tuple[tuple[re.Pattern[str], str, str, str, str], ...]] = tuple(
    (re.compile(pattern), spot, spot_name, on_demand, f"Running On-Demand {on_demand_name} instances")
    for pattern, spot, spot_name, on_demand, on_demand_name in (
        (r"(g|gr|vt)\d", "L-3819A6DF", "All G and VT Spot Instance Requests", "L-DB2E81BA", "G and VT"),
        (r"p[2-4]", "L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", "L-417A185B", "P"),
        (r"p\d", "L-C4BD4855", "All P5 Spot Instance Requests", "L-417A185B", "P"),
        (r"f\d", "L-88CF9481", "All F Spot Instance Requests", "L-74FC7D96", "F"),
        (r"inf\d", "L-B5D1601B", "All Inf Spot Instance Requests", "L-1945791B", "Inf"),
        (r"trn\d", "L-6B0D517C", "All Trn Spot Instance Requests", "L-2C3B7624", "Trn"),
        (r"dl\d", "L-85EED4F7", "All DL Spot Instance Requests", "L-6E869C2A", "DL"),
        (r"x\d", "L-E3A00192", "All X Spot Instance Requests", "L-7295265B", "X"),
        (r"hpc\d", "", "", "L-F7808C92", "HPC"),
        (r"u-?\d", "", "", "L-43DA4232", "High Memory"),
        (
            _STANDARD.pattern,
            "L-34B43A08",
            "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
            "L-1216C47A",
            "Standard (A, C, D, H, I, M, R, T, Z)",
        ),
    )
)


def quota_of(instance_type: str, *, is_spot: bool) -> Quota | None:
    """The quota that instances of a type or family count against; None if no class is known for it."""
    for pattern, spot, spot_name, on_demand, on_demand_name in _CLASSES:
        if pattern.match(instance_type):
            code, name = (spot, spot_name) if is_spot else (on_demand, on_demand_name)
            return Quota(code=code, name=name) if code else None
    return None


def demands(template: Mapping[str, Any]) -> Mapping[Quota, int]:
    """How many vCPUs a template's compute environments may run at once, by quota.

    An environment of several classes can fill up with any one of them, so its whole maximum counts in each.
    """
    found: dict[Quota, int] = {}
    for resource in template.get("Resources", {}).values():
        if resource.get("Type") != "AWS::Batch::ComputeEnvironment":
            continue
        compute = resource.get("Properties", {}).get("ComputeResources", {})
        if compute.get("Type") not in (_SPOT, _ON_DEMAND):
            continue
        types = compute.get("InstanceTypes", ())
        for quota in {quota_of(str(each), is_spot=compute["Type"] == _SPOT) for each in types} - {None}:
            if quota:
                found[quota] = found.get(quota, 0) + int(compute["MaxvCpus"])
    return found


def limit(quota: Quota) -> int | None:
    """How many vCPUs the account may run in this region; None if AWS does not say.

    None is not an error: a permission may be missing, or the service in that region; the deployment needs neither.
    """
    try:
        answer = session.client("service-quotas").get_service_quota(ServiceCode=_SERVICE, QuotaCode=quota.code)
    except SpotbatchError:
        return None
    return int(answer["Quota"]["Value"])
