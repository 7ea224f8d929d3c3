"""Rules on compute environments: capacity, price, updates, draining. Each is a small function of the facts."""

from collections.abc import Iterator
from typing import Final

from spotbatch.audit.facts import LAUNCH_TEMPLATE, SUBNET, Facts, Properties, Resource, is_false, is_known, texts, whole
from spotbatch.audit.finding import Finding, Level
from spotbatch.audit.read_template import user_data

_BATCH: Final = "https://docs.aws.amazon.com/batch/latest"
_ALLOCATION: Final = f"{_BATCH}/userguide/allocation-strategies.html"
_COMPUTE: Final = f"{_BATCH}/APIReference/API_ComputeResource.html"
_UPDATES: Final = f"{_BATCH}/userguide/updating-compute-environments.html"
_TEMPLATES: Final = f"{_BATCH}/APIReference/API_LaunchTemplateSpecification.html"
_UPDATE_POLICY: Final = f"{_BATCH}/APIReference/API_UpdatePolicy.html"
_SPOT: Final = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-best-practices.html"
_DRAINING: Final = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-instance-spot.html"
_CFN: Final = (
    "https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-batch-computeenvironment.html"
)
_ENOUGH_TYPES: Final = 10  # EC2 user guide, "Best practices for Amazon EC2 Spot": at least ten types
_LOW_BID_PERCENT: Final = 50  # if no price is known
_BUNDLES: Final = ("optimal", "default_x86_64", "default_arm64")
_DRAINS: Final = "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true"
_SHARE: Final = "{name} {share:.0f} %"


def few_instance_types(facts: Facts) -> Iterator[Finding]:
    """Spot hosts of one or a few types are reclaimed together when EC2 needs those types."""
    for each, compute in facts.spot_hosts():
        kinds = facts.types_of(compute)
        named = texts(compute.get("InstanceTypes"))
        if kinds is None or not is_known(named) or len(kinds) >= _ENOUGH_TYPES:
            continue
        yield Finding(
            rule="few-instance-types",
            level=Level.WARNING,
            resource=each.id,
            path="ComputeResources.InstanceTypes",
            risk="when EC2 takes back this capacity all hosts go at once, and jobs wait while there is none of it",
            evidence=f"{', '.join(named)}: {len(kinds)} instance type{'' if len(kinds) == 1 else 's'}",
            fix="name whole families of several kinds, as [c5, m5, r5, c6i, m6i, r6i]",
            source=_SPOT,
        )


def one_zone(facts: Facts) -> Iterator[Finding]:
    """Spot capacity is per zone; the subnets determine the zones."""
    for each, compute in facts.spot_hosts():
        subnets = compute.get("Subnets")
        if not isinstance(subnets, list) or not is_known(subnets):
            continue
        zones = {_zone_of(facts, name) for name in subnets}
        if len(zones) == 1:
            yield Finding(
                rule="one-zone",
                level=Level.WARNING,
                resource=each.id,
                path="ComputeResources.Subnets",
                risk="each type has one pool of Spot capacity only: interruptions come together, and waits are longer",
                evidence=f"{len(subnets)} subnet{'' if len(subnets) == 1 else 's'} in one zone",
                fix="name a subnet of each zone of the region",
                source=_SPOT,
            )


def _zone_of(facts: Facts, subnet: object) -> str:
    """A subnet's zone if the template gives it, else the subnet itself."""
    found = facts.named(SUBNET, subnet)
    zone = found.properties.get("AvailabilityZone") if found is not None else None
    return str(zone) if zone is not None and is_known(zone) else str(subnet)


def best_fit(facts: Facts) -> Iterator[Finding]:
    """BEST_FIT waits for one type and cannot be updated; by price alone, Spot hosts are interrupted more often."""
    for each, compute in facts.hosts():
        strategy = compute.get("AllocationStrategy", "BEST_FIT")
        is_spot = str(compute["Type"]).upper() == "SPOT"
        if strategy == "BEST_FIT":
            risk = "it waits for the one type that fits best, and no infrastructure update is possible"
            seen = "BEST_FIT" if "AllocationStrategy" in compute else "not set, so BEST_FIT"
        elif is_spot and strategy == "BEST_FIT_PROGRESSIVE":
            risk = "it takes the cheapest Spot pools, whatever their depth: those are interrupted more often"
            seen = "BEST_FIT_PROGRESSIVE on Spot"
        else:
            continue
        wanted = "SPOT_CAPACITY_OPTIMIZED or SPOT_PRICE_CAPACITY_OPTIMIZED" if is_spot else "BEST_FIT_PROGRESSIVE"
        yield Finding(
            rule="best-fit",
            level=Level.WARNING,
            resource=each.id,
            path="ComputeResources.AllocationStrategy",
            risk=risk,
            evidence=f"AllocationStrategy: {seen}",
            fix=f"AllocationStrategy: {wanted}",
            source=_ALLOCATION,
        )


def bundle_of_types(facts: Facts) -> Iterator[Finding]:
    """AWS may change what `optimal` means (as on 2025-11-01), and it covers only four families."""
    for each, compute in facts.hosts():
        named = [name for name in texts(compute.get("InstanceTypes")) if name in _BUNDLES]
        if named:
            yield Finding(
                rule="optimal",
                level=Level.WARNING,
                resource=each.id,
                path="ComputeResources.InstanceTypes",
                risk="AWS decides which families it stands for and changes them: prices and results may move with it",
                evidence=f"InstanceTypes has {', '.join(named)}",
                fix="name the families that the jobs were measured on, as [c5, m5, r5, c6i, m6i, r6i]",
                source=_COMPUTE,
            )


def low_bid(facts: Facts) -> Iterator[Finding]:
    """A price cap below the usual Spot price prevents launches; you never pay more than the market price anyway."""
    for each, compute in facts.spot_hosts():
        bid = whole(compute.get("BidPercentage", 100))
        if bid is None:
            continue
        shares = {
            kind.name: float(kind.spot_usd_per_hour * 100 / kind.on_demand_usd_per_hour)
            for kind in facts.types_of(compute) or ()
            if kind.spot_usd_per_hour is not None
        }
        above = sorted((name for name, share in shares.items() if share > bid), key=lambda name: -shares[name])
        if not above and (shares or bid >= _LOW_BID_PERCENT):
            continue
        some = ", ".join(_SHARE.format(name=name, share=shares[name]) for name in above[:3])
        known = f"; {len(above)} of {len(shares)} types cost more on average: {some}" if above else ""
        yield Finding(
            rule="low-bid",
            level=Level.WARNING,
            resource=each.id,
            path="ComputeResources.BidPercentage",
            risk="jobs wait for ever while Spot costs more than the cap, and hosts are taken back when it does",
            evidence=f"BidPercentage: {bid}{known}",
            fix="leave BidPercentage out (100), or at 80 and more",
            source=_COMPUTE,
        )


def idle_hosts(facts: Facts) -> Iterator[Finding]:
    """MinvCpus cost money around the clock."""
    for each, compute in facts.hosts():
        least = whole(compute.get("MinvCpus", 0)) or 0
        if least <= 0:
            continue
        kinds = facts.types_of(compute) or ()
        hourly = min((kind.on_demand_usd_per_hour / kind.vcpus for kind in kinds), default=None)
        cost = "" if hourly is None else f": about {hourly * least * 730:,.0f} USD a month on demand, less on Spot"
        yield Finding(
            rule="idle-hosts",
            level=Level.WARNING,
            resource=each.id,
            path="ComputeResources.MinvCpus",
            risk=f"{least} vCPUs are up and paid for while nothing runs{cost}",
            evidence=f"MinvCpus: {least}",
            fix="MinvCpus: 0",
            source=_COMPUTE,
        )


def no_draining(facts: Facts) -> Iterator[Finding]:
    """ECS places new tasks on a host with a two-minute notice unless the agent is told to drain it."""
    for each, compute in facts.spot_hosts():
        named = compute.get("LaunchTemplate")
        template = _launch_template(facts, named)
        if named is not None and template is None:
            continue  # it is defined elsewhere: nothing can be said
        data = user_data(template) if template is not None else ""
        if data is None or _DRAINS in data.replace(" ", "").replace('"', ""):
            continue
        yield Finding(
            rule="no-draining",
            level=Level.WARNING,
            resource=each.id,
            path="ComputeResources.LaunchTemplate",
            risk="jobs are started on hosts that EC2 takes back within two minutes, and lose those attempts",
            evidence="no launch template" if template is None else f"the user data of {template.id} does not set it",
            fix=f'in a launch template\'s user data: echo "{_DRAINS}" >> /etc/ecs/ecs.config',
            source=_DRAINING,
        )


def _launch_template(facts: Facts, named: object) -> Resource | None:
    if not isinstance(named, dict):
        return None
    return facts.named(LAUNCH_TEMPLATE, named.get("LaunchTemplateId") or named.get("LaunchTemplateName"))


def unpinned_launch_template(facts: Facts) -> Iterator[Finding]:
    """Without a version number, hosts use the version as of the environment's last update."""
    for each, compute in facts.hosts():
        named = compute.get("LaunchTemplate")
        if not isinstance(named, dict):
            continue
        version = str(named.get("Version", "")) or "not set, so $Default"
        if version.isdigit() or not is_known(version):
            continue
        yield Finding(
            rule="unpinned-launch-template",
            level=Level.WARNING,
            resource=each.id,
            path="ComputeResources.LaunchTemplate.Version",
            risk="an edited template reaches no host until an infrastructure update, which then takes any version",
            evidence=f"Version: {version}",
            fix="Version: !GetAtt TheTemplate.LatestVersionNumber (in CloudFormation), else a number",
            source=_TEMPLATES,
        )


def name_blocks_replacement(facts: Facts) -> Iterator[Finding]:
    """A replacement is created before the old one is deleted, and two environments cannot share a name."""
    if facts.is_live:
        return
    for each, _ in facts.hosts():
        name = each.properties.get("ComputeEnvironmentName")
        if name is not None and not is_false(each.properties.get("ReplaceComputeEnvironment")):
            yield Finding(
                rule="name-blocks-replacement",
                level=Level.ERROR,
                resource=each.id,
                path="ComputeEnvironmentName",
                risk="an update that replaces the environment fails: its name is taken until the old one is gone",
                evidence=f"ComputeEnvironmentName: {name}; ReplaceComputeEnvironment is not false",
                fix="leave the name out, or set ReplaceComputeEnvironment: false with an allocation strategy that can "
                "be updated",
                source=_CFN,
            )


def no_update_policy(facts: Facts) -> Iterator[Finding]:
    """What happens to running jobs while the hosts are replaced."""
    for each, compute in facts.hosts():
        properties = each.properties
        if not facts.is_live and not is_false(properties.get("ReplaceComputeEnvironment")):
            yield _policy_finding(
                each,
                "ReplaceComputeEnvironment",
                risk="other types or another launch template make a new environment, and this one goes, jobs and all",
                evidence="ReplaceComputeEnvironment is not false",
                fix="ReplaceComputeEnvironment: false, with UpdatePolicy",
                source=_CFN,
            )
        elif compute.get("AllocationStrategy") and not _has_policy(properties):
            yield _policy_finding(
                each,
                "UpdatePolicy",
                risk="jobs that run longer than 30 minutes are ended when the hosts are changed",
                evidence="UpdatePolicy is not set: JobExecutionTimeoutMinutes is 30",
                fix="UpdatePolicy: {TerminateJobsOnUpdate: false, JobExecutionTimeoutMinutes: as long as a job runs}",
                source=_UPDATE_POLICY,
            )


def _has_policy(properties: Properties) -> bool:
    return bool(properties.get("UpdatePolicy"))


def _policy_finding(each: Resource, path: str, *, risk: str, evidence: str, fix: str, source: str) -> Finding:
    return Finding(
        rule="no-update-policy", level=Level.WARNING, resource=each.id, path=path, risk=risk, evidence=evidence,
        fix=fix, source=source,
    )  # fmt: skip
