"""Rules on the surroundings: the network's idle cost, logs kept forever, overly permissive roles."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from spotbatch.audit.facts import ENDPOINT, LOG_GROUP, NAT_GATEWAY, POLICIES, ROLE, Facts, Properties, is_known
from spotbatch.audit.finding import Finding, Level
from spotbatch.pricing.units import HOURS_A_MONTH, unit_prices

_NAT: Final = "https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-pricing.html"
_ENDPOINTS: Final = "https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-s3.html"
_LOGS: Final = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/Working-with-log-groups-and-streams.html"
_IAM: Final = "https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html"
_DEFAULT_GROUP: Final = "/aws/batch/job"
_WIDE: Final = ("AdministratorAccess", "PowerUserAccess", "FullAccess")


def nat_hours(facts: Facts) -> Iterator[Finding]:
    """NAT gateways are billed by the hour, with or without jobs."""
    gateways = list(facts.of(NAT_GATEWAY))
    if not gateways:
        return
    hourly = unit_prices()["nat_gateway"].usd
    yield Finding(
        rule="nat-hours",
        level=Level.WARNING,
        resource=gateways[0].id,
        path="Type",
        risk=f"{len(gateways) * hourly * HOURS_A_MONTH:.2f} USD a month while nothing runs (us-east-1), and "
        f"{unit_prices()['nat_gateway_gib'].usd} USD for each GiB that goes through",
        evidence=f"{len(gateways)} NAT gateway{'' if len(gateways) == 1 else 's'}: "
        f"{', '.join(each.id for each in gateways)}",
        fix="one gateway for all zones, or public subnets with a closed security group, which need none",
        source=_NAT,
    )


def s3_through_nat(facts: Facts) -> Iterator[Finding]:
    """A gateway endpoint for S3 costs nothing, and keeps the jobs' data off the NAT gateway."""
    gateways = list(facts.of(NAT_GATEWAY))
    has_endpoint = any("s3" in str(each.properties.get("ServiceName", "")) for each in facts.of(ENDPOINT))
    if gateways and not has_endpoint:
        yield Finding(
            rule="s3-through-nat",
            level=Level.WARNING,
            resource=gateways[0].id,
            path="Type",
            risk=f"{unit_prices()['nat_gateway_gib'].usd} USD for each GiB that jobs read from S3 or write to it",
            evidence="a NAT gateway, and no endpoint for S3",
            fix="an AWS::EC2::VPCEndpoint of type Gateway for com.amazonaws.REGION.s3, which costs nothing",
            source=_ENDPOINTS,
        )


def logs_kept_for_ever(facts: Facts) -> Iterator[Finding]:
    """A log group without a retention keeps everything ever written."""
    for each in facts.of(LOG_GROUP):
        if "RetentionInDays" not in each.properties:
            yield _logs(each.id, "RetentionInDays", "RetentionInDays is not set", "RetentionInDays: 30")
    if facts.is_live:
        return
    for each in facts.definitions():
        container: Properties = each.properties["ContainerProperties"]
        logging = container.get("LogConfiguration") or {}
        options = logging.get("Options") or {} if isinstance(logging, Mapping) else {}
        if not logging or (isinstance(options, Mapping) and logging.get("LogDriver") == "awslogs" and not options):
            yield _logs(
                each.id,
                "ContainerProperties.LogConfiguration",
                f"no log group is named, so it is {_DEFAULT_GROUP}, which AWS Batch makes without a retention",
                "an AWS::Logs::LogGroup with RetentionInDays, named by awslogs-group",
            )


def _logs(resource: str, path: str, evidence: str, fix: str) -> Finding:
    kept, written = unit_prices()["log_storage_gib"].usd, unit_prices()["log_ingest_gib"].usd
    return Finding(
        rule="logs-kept-for-ever",
        level=Level.WARNING,
        resource=resource,
        path=path,
        risk=f"logs are kept, and paid for, for ever: {kept} USD a GiB and month (beside {written} once)",
        evidence=evidence,
        fix=fix,
        source=_LOGS,
    )


def open_roles(facts: Facts) -> Iterator[Finding]:
    """Anyone who gets code into a job can do whatever the job may do."""
    for each in facts.of(ROLE, *POLICIES):
        for path, statement in _statements(each.properties):
            if wide := _wide_actions(statement):
                yield _role(each.id, path, f"Allow {wide} on every resource")
        for at, arn in enumerate(each.properties.get("ManagedPolicyArns") or []):
            name = str(arn).rpartition("/")[2]
            if is_known(arn) and name.endswith(_WIDE):
                yield _role(each.id, f"ManagedPolicyArns[{at}]", name)
        trust = each.properties.get("AssumeRolePolicyDocument")
        for path, statement in _statements_of(trust, "AssumeRolePolicyDocument"):
            if statement.get("Principal") in ("*", {"AWS": "*"}) and "Condition" not in statement:
                yield _role(each.id, path, "any account may take the role")


def _role(resource: str, path: str, evidence: str) -> Finding:
    return Finding(
        rule="open-role",
        level=Level.WARNING,
        resource=resource,
        path=path,
        risk="whoever gets code into a job (an input, a dependency) may do the same to the account",
        evidence=evidence,
        fix="the actions that the job needs, on the ARNs that it needs",
        source=_IAM,
    )


def _statements(properties: Properties) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The statements of a policy, or of a role's inline policies."""
    yield from _statements_of(properties.get("PolicyDocument"), "PolicyDocument")
    policies = properties.get("Policies")
    for at, policy in enumerate(policies if isinstance(policies, list) else []):
        if isinstance(policy, Mapping):
            yield from _statements_of(policy.get("PolicyDocument"), f"Policies[{at}].PolicyDocument")


def _statements_of(document: object, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    listed = document.get("Statement") if isinstance(document, Mapping) else None
    for at, statement in enumerate([listed] if isinstance(listed, Mapping) else listed or []):
        if isinstance(statement, Mapping) and statement.get("Effect") == "Allow":
            yield f"{where}.Statement[{at}]", statement


def _wide_actions(statement: Mapping[str, Any]) -> str:
    """Actions that cover a whole service, if allowed on all resources without a condition."""
    resources = statement.get("Resource")
    if "*" not in ([resources] if isinstance(resources, str) else resources or []) or "Condition" in statement:
        return ""
    actions = statement.get("Action")
    listed = [actions] if isinstance(actions, str) else actions or []
    return ", ".join(str(each) for each in listed if str(each) == "*" or str(each).endswith(":*"))
