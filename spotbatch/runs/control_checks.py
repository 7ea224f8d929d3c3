"""What is checked before the controller promises anything: queues, their hosts, quotas. What is not known is said.

A promise that cannot be kept is refused. A question that nobody answers (a permission may be missing, a type may not be
in the catalogue) refuses nothing: it becomes a line of the run's story.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.aws import quotas, session
from spotbatch.aws.inspection import Inspector, Queue
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.price_cache import current_catalogue
from spotbatch.batch.errors import InvalidInput, SpotbatchError, Unavailable
from spotbatch.batch.job import ResourceRequirements
from spotbatch.pricing.catalogue import InstanceType
from spotbatch.runs.capacity import fits, shortfall, types_of, unknown_types
from spotbatch.runs.endpoint import local_vcpus

UNKNOWN: Final = "not checked"  # how the notes of what could not be read begin
_ASK: Final = "ask for more in Service Quotas (EC2), which takes hours to days"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosts:
    """The hosts that a queue can launch, as far as they are known. `unknown`: what could not be read."""

    queue: str
    max_vcpus: int
    types: tuple[InstanceType, ...] = ()  # empty if any is unknown
    spot: tuple[str, ...] = ()  # the environments whose hosts EC2 may take
    unknown: tuple[str, ...] = ()

    def holding(self, needs: ResourceRequirements) -> tuple[InstanceType, ...]:
        return tuple(kind for kind in self.types if fits(kind, needs))

    def largest_memory_mib(self, needs: ResourceRequirements) -> int | None:
        """The most memory that a job with these vCPUs and GPUs can have; None if it is not known."""
        kinds = [kind for kind in self.types if kind.vcpus >= needs.vcpus and kind.gpus >= needs.gpus]
        return max((kind.usable_memory_mib for kind in kinds), default=None)


def hosts_of(queue: str, *, jobs: Jobs) -> Hosts:
    """The hosts of a queue. Raises Unavailable if it cannot be queried, InvalidInput if it launches none."""
    try:
        found = Inspector(batch=jobs.batch).queue(queue)
    except SpotbatchError as error:
        raise Unavailable(f"the queue {queue} cannot be looked at, so nothing is promised: {error}") from error
    usable = [each for each in found.environments if each.is_usable]
    if not usable or not _is_open(found):
        raise InvalidInput(f"the queue {queue} has no environment that launches hosts: spotbatch doctor")
    catalogue = current_catalogue()
    unknown = [name for each in usable for name in unknown_types(each, catalogue)]
    types = () if unknown else tuple(kind for each in usable for kind in types_of(each, catalogue))
    lines = (f"{UNKNOWN}: what hosts of {', '.join(unknown)} hold (queue {queue})",) if unknown else ()
    spot = tuple(each.name for each in usable if each.is_spot)
    most = sum(each.max_vcpus for each in usable)
    return Hosts(queue=queue, max_vcpus=most, types=types, spot=spot, unknown=lines)


def _is_open(queue: Queue) -> bool:
    return queue.state == "ENABLED" and queue.status == "VALID"


def on_demand_hosts(queue: str, *, jobs: Jobs) -> Hosts:
    """The hosts of the queue for on-demand capacity. Raises like `hosts_of`, and InvalidInput if EC2 may take them."""
    found = hosts_of(queue, jobs=jobs)
    if found.spot:
        spot = ", ".join(found.spot)
        raise InvalidInput(f"the queue {queue} launches Spot hosts ({spot}): name one that launches none")
    return found


def check_room(hosts: Hosts, needs: ResourceRequirements, units: int, *, is_at_once: bool) -> list[str]:
    """Check that on-demand hosts hold a unit, and with a deadline (`is_at_once`) all units at the same time.

    Returns what could not be checked. Raises InvalidInput.
    """
    kinds = hosts.holding(needs)
    if hosts.types and not kinds:
        lack = shortfall(needs, hosts.types)
        raise InvalidInput(f"no instance type of {hosts.queue} has {lack.asked}: {lack.evidence}; {lack.fix}")
    needed = needs.vcpus * (units if is_at_once else 1)
    if is_at_once:
        whom = f"a deadline needs room on demand for all {units} at once: that is"
    else:
        whom = "on demand a job needs"
    if needed > hosts.max_vcpus:
        raise InvalidInput(
            f"{whom} {needed} vCPUs, and {hosts.queue} has at most {hosts.max_vcpus}: raise on_demand_max_vcpus, "
            "or ask for less"
        )
    most, unknown = _quota_vcpus(kinds, is_spot=False)
    if most is not None and needed > most:
        raise InvalidInput(f"{whom} {needed} vCPUs, and the account may run {most} on demand: {_way_out()}")
    return [*hosts.unknown, *unknown]


def spot_notes(queue: str, needs: ResourceRequirements, *, jobs: Jobs) -> list[str]:
    """What is to be said of Spot: no hosts, a quota that holds not even one unit, and what could not be read."""
    try:
        hosts = hosts_of(queue, jobs=jobs)
    except InvalidInput as error:
        return [str(error)]  # what a deadline needs is on demand
    except Unavailable as error:
        return [f"{UNKNOWN}: {error}"]
    most, unknown = _quota_vcpus(hosts.holding(needs), is_spot=True)
    if most is not None and most < needs.vcpus:
        return [f"the account may run {most} vCPUs on Spot, and a job has {needs.vcpus}: none starts there ({_ASK})"]
    return unknown


def largest_memory_mib(queues: Iterable[str], needs: ResourceRequirements, *, jobs: Jobs) -> int | None:
    """The most memory that a unit can have on the hosts of each of these queues; None if it is not known."""
    try:
        found = [hosts_of(queue, jobs=jobs).largest_memory_mib(needs) for queue in queues]
    except SpotbatchError:
        return None
    known = [most for most in found if most is not None]
    return min(known) if known and len(known) == len(found) else None


def _way_out() -> str:
    return "start the local region with a larger --vcpu-quota" if session.is_local() else _ASK


def _quota_vcpus(kinds: Sequence[InstanceType], *, is_spot: bool) -> tuple[int | None, list[str]]:
    """How many vCPUs of these types may run at once; None, and why, if that is not known.

    Each class of families has a quota of its own, for Spot and for on-demand (EC2 user guide, "On-Demand Instance
    quotas"). The local region has one for all its hosts.
    """
    if session.is_local():
        found = local_vcpus()
        return (None, []) if found is None else (found[1], [])
    named = {quota for kind in kinds if (quota := quotas.quota_of(kind.name, is_spot=is_spot)) is not None}
    limits = {quota: quotas.limit(quota) for quota in sorted(named, key=lambda each: each.code)}
    if not limits or any(each is None for each in limits.values()):
        return None, [_not_read(is_spot, (each.name for each, most in limits.items() if most is None))]
    return sum(each for each in limits.values() if each is not None), []


def _not_read(is_spot: bool, names: Iterable[str]) -> str:
    where = "Spot" if is_spot else "on-demand"
    listed = ", ".join(names)
    return f"{UNKNOWN}: the account's {where} vCPU quota{f' ({listed})' if listed else ''}, which could not be read"
