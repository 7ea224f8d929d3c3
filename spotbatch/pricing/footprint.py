"""What a synthesized template keeps running while idle, counted by the item names of the price table."""

from collections.abc import Mapping
from typing import Any, Final

# What one resource of a type costs while it exists, whether it is used or not.
_ITEMS: Final[Mapping[str, str]] = {
    "AWS::EC2::NatGateway": "nat_gateway",
    "AWS::EC2::EIP": "public_ipv4",
    "AWS::CloudWatch::Alarm": "alarm",
    "AWS::CloudWatch::CompositeAlarm": "composite_alarm",
    "AWS::CloudWatch::Dashboard": "dashboard",
    "AWS::KMS::Key": "kms_key",
    "AWS::SecretsManager::Secret": "secret",
    "AWS::Budgets::Budget": "budget",
    "AWS::DynamoDB::Table": "table",
    "AWS::SQS::Queue": "dead_letter_queue",
}
# The host that replaces a NAT gateway, with its address and its disk.
NAT_INSTANCE: Final[Mapping[str, int]] = {"nat_instance": 1, "public_ipv4": 1, "ebs_gp3_gib": 8}


def footprint(template: Mapping[str, Any]) -> dict[str, int]:
    """The count of each item of `units.unit_prices` (items that do not occur are left out).

    An interface endpoint counts once per subnet; a gateway endpoint is free and listed as such. Hosts do not count: the
    compute environment's minimum is 0, and `minimum_vcpus` reports where it is not.
    """
    counts: dict[str, int] = {}
    resources = template.get("Resources", {})
    called = _called_while_idle(resources)
    for name, resource in resources.items():
        counted = _counted(resource)
        if resource.get("Type") == "AWS::Lambda::Function":
            counted = {"scheduled_function" if name in called else "waiting_function": 1}
        for item, number in counted.items():
            counts[item] = counts.get(item, 0) + number
    return counts


def _called_while_idle(resources: Mapping[str, Any]) -> set[str]:
    """The functions called by an enabled schedule; a disabled schedule is enabled only while there is work."""
    targets = [
        target.get("Arn")
        for resource in resources.values()
        if resource.get("Type") == "AWS::Events::Rule"
        and "ScheduleExpression" in (properties := resource.get("Properties", {}))
        and properties.get("State", "ENABLED") != "DISABLED"
        for target in properties.get("Targets", [])
    ]
    return {str(arn["Fn::GetAtt"][0]) for arn in targets if isinstance(arn, Mapping) and "Fn::GetAtt" in arn}


def custom_metrics(template: Mapping[str, Any]) -> int:
    """The custom metrics in the template: those that its metric filters produce and its alarms watch.

    They are billed for each hour in which something is reported, so an idle stack pays nothing for them.
    """
    found: set[tuple[str, str]] = set()
    for resource in template.get("Resources", {}).values():
        properties = resource.get("Properties", {})
        if resource.get("Type") == "AWS::Logs::MetricFilter":
            named = [
                (each.get("MetricNamespace"), each.get("MetricName"))
                for each in _list(properties, "MetricTransformations")
            ]
        elif resource.get("Type") == "AWS::CloudWatch::Alarm":
            stats = [each.get("MetricStat", {}).get("Metric", {}) for each in _list(properties, "Metrics")]
            named = [(each.get("Namespace"), each.get("MetricName")) for each in (properties, *stats)]
        else:
            continue
        found |= {(str(space), str(name)) for space, name in named if space and name}
    return sum(not space.startswith("AWS/") for space, _ in found)


def _list(properties: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = properties.get(name)
    return found if isinstance(found, list) else []


def minimum_vcpus(template: Mapping[str, Any]) -> int:
    """vCPUs that compute environments keep running while idle: billed by the hour, and not part of the footprint."""
    environments = (
        resource["Properties"].get("ComputeResources", {})
        for resource in template.get("Resources", {}).values()
        if resource.get("Type") == "AWS::Batch::ComputeEnvironment"
    )
    return sum(int(resources.get("MinvCpus", 0)) for resources in environments)


def _counted(resource: Mapping[str, Any]) -> Mapping[str, int]:
    kind = resource.get("Type", "")
    if kind == "AWS::EC2::Instance":
        return NAT_INSTANCE  # the only instance that belongs to the stack itself
    if kind != "AWS::EC2::VPCEndpoint":
        return {_ITEMS[kind]: 1} if kind in _ITEMS else {}
    properties = resource.get("Properties", {})
    if properties.get("VpcEndpointType", "Gateway") == "Interface":
        return {"interface_endpoint": max(1, len(properties.get("SubnetIds", [])))}
    return {"gateway_endpoint": 1}
