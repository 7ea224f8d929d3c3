"""What a job requests compared with what its environments can launch: size, architecture, quota, price. Pure."""

from collections.abc import Iterator

from spotbatch.aws.inspection import Environment, Surroundings
from spotbatch.doctor.case import Case, Finding, certain, likely, normal
from spotbatch.runs.capacity import fits, shortfall, types_of, unknown_types


def fits_nowhere(case: Case) -> Iterator[Finding]:
    """vCPUs, memory, GPUs and architecture against every instance type; the environment's own limit."""
    usable = [each for each in case.around.queue.environments if each.is_usable]
    if not usable:
        return
    types = [kind for each in usable for kind in types_of(each, case.types)]
    needs = case.job.requirements
    if any(unknown_types(each, case.types) for each in usable):
        return  # what is not known may be large enough
    if types and not any(fits(kind, needs) for kind in types):
        lack = shortfall(needs, types)
        yield certain(lack.cause, evidence=lack.evidence, fix=lack.fix)
        return
    limit = max(each.max_vcpus for each in usable)
    smallest = min((kind.vcpus for kind in types if fits(kind, needs)), default=needs.vcpus)
    if types and smallest > limit:
        yield certain(
            "no host that fits the job fits into the environment",
            evidence=f"the smallest host that fits has {smallest} vCPUs, maxvCpus is {limit}",
            fix="raise maxvCpus (context key max_vcpus), or ask for less",
        )


def wrong_architecture(case: Case) -> Iterator[Finding]:
    built_for = case.around.image_architectures
    usable = [each for each in case.around.queue.environments if each.is_usable]
    offered = {kind.architecture for each in usable for kind in types_of(each, case.types)}
    if built_for and offered and not offered & set(built_for):
        yield certain(
            "the image is built for another architecture than the hosts have",
            evidence=f"image: {', '.join(built_for)}; hosts: {', '.join(sorted(offered))}",
            fix="build it for them: docker buildx build --platform linux/amd64 (or linux/arm64)",
        )


def quota(case: Case) -> Iterator[Finding]:
    """The account's vCPU quotas: one per class of instance families, each for Spot and on-demand."""
    for each in case.around.queue.environments:
        named_none = _quotas_of_none(each, case.around)
        if named_none:
            yield certain(
                "the account's vCPU quota is zero for what the environment launches",
                evidence=f"{each.name}: {', '.join(named_none)}: 0 vCPUs",
                fix="ask for more in Service Quotas (EC2); an answer takes hours to days",
            )
            continue
        kinds = [kind for kind in types_of(each, case.types) if fits(kind, case.job.requirements)]
        of_kind = [(kind, case.around.quota_of(kind.name, is_spot=each.is_spot)) for kind in kinds]
        known = [(kind, named, vcpus) for kind, (named, vcpus) in of_kind if vcpus is not None]
        if not known or len(known) < len(kinds):
            continue  # a type with an unknown quota may still be launchable
        smallest, named, vcpus = min(known, key=lambda one: one[0].vcpus)
        if all(limit < kind.vcpus for kind, _, limit in known):
            yield certain(
                "the account's vCPU quota is smaller than one host",
                evidence=f"quota {named}: {vcpus:.0f} vCPUs; the smallest host that fits has {smallest.vcpus}",
                fix="ask for more in Service Quotas (EC2); an answer takes hours to days",
            )
        elif max(limit for _, _, limit in known) < each.max_vcpus:
            yield likely(
                "the account's vCPU quota is below the environment's limit",
                evidence=f"quota {named}: {vcpus:.0f} vCPUs; {each.name} may want {each.max_vcpus}",
                fix="if hosts stop coming before maxvCpus, ask for more in Service Quotas (EC2)",
            )


def local_quota(case: Case) -> Iterator[Finding]:
    """The local region's own limit on all its hosts together, which stands in for the account's quota."""
    launched, most = case.local_vcpus or (0, None)
    if most is None:
        return
    kinds = [kind for each in case.around.queue.environments for kind in types_of(each, case.types)]
    needed = min((kind.vcpus for kind in kinds if fits(kind, case.job.requirements)), default=0)
    if needed > most:
        yield certain(
            "the local region's vCPU quota is smaller than one host",
            evidence=f"quota: {most} vCPUs; the smallest host that fits has {needed}",
            fix=f"spotbatch local down && spotbatch local up --vcpu-quota {needed}",
        )
    elif needed and launched + needed > most:
        yield normal(
            "the local region's own vCPU quota is used up: the job waits for room on a host, or for one to go",
            evidence=f"its hosts have {launched} of {most} vCPUs; the smallest host that fits has {needed}",
            fix=f"wait, or allow more: spotbatch local down && spotbatch local up --vcpu-quota {2 * most} "
            "(jobs that run go on from their checkpoints)",
        )


def _quotas_of_none(environment: Environment, around: Surroundings) -> list[str]:
    """The quotas of all its types if every one is known and zero, as for GPUs in a new account."""
    found = [around.quota_of(name, is_spot=environment.is_spot) for name in environment.instance_types]
    return sorted({name for name, _ in found}) if found and all(vcpus == 0 for _, vcpus in found) else []


def price_cap(case: Case) -> Iterator[Finding]:
    """Spot prices above the environment's cap. The known prices may be means, so this is never certain."""
    for each in case.around.queue.environments:
        kinds = [kind for kind in types_of(each, case.types) if fits(kind, case.job.requirements)]
        known = [(kind, kind.spot_usd_per_hour) for kind in kinds if kind.spot_usd_per_hour is not None]
        if not each.is_spot or not each.bid_percentage or not known:
            continue
        share = {kind.name: price * 100 / kind.on_demand_usd_per_hour for kind, price in known}
        if min(share.values()) > each.bid_percentage:
            cheapest = min(share, key=lambda name: share[name])
            yield likely(
                "Spot prices are above the environment's cap",
                evidence=f"{each.name}: at most {each.bid_percentage} % of the on-demand price; {cheapest} is at "
                f"{share[cheapest]:.0f} %",
                fix="raise bid_percentage, or add instance types; `spotbatch prices refresh` asks for today's prices",
            )
