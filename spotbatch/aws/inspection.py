"""The surroundings of a job that does not run: queue, environments, network, image, roles, quota. Read-only."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from spotbatch.aws import session
from spotbatch.aws.quotas import Quota, quota_of
from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError, Unavailable

T = TypeVar("T")

_ECR_HOST: Final = ".dkr.ecr."
_BLOB_SECONDS: Final = 10.0
_MOST_BLOB_BYTES: Final = 1 << 20
_MANIFESTS: Final = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """The parts of a compute environment that decide whether a job can be placed."""

    name: str
    state: str
    status: str
    status_reason: str = ""
    is_spot: bool = True
    max_vcpus: int = 0
    desired_vcpus: int | None = None
    instance_types: tuple[str, ...] = ()
    bid_percentage: int | None = None
    subnets: tuple[str, ...] = ()
    instance_role: str = ""

    @property
    def is_usable(self) -> bool:
        return self.state == "ENABLED" and self.status == "VALID"


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """A job queue and its environments, in order."""

    name: str
    state: str
    status: str
    status_reason: str = ""
    priority: int = 0
    environments: tuple[Environment, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """Everything that could be read. None: not readable, and `unseen` says why."""

    queue: Queue
    ahead: tuple[str, ...] | None = None  # the ids at the front of its queue, in order
    quota_vcpus: Mapping[Quota, float] = field(default_factory=dict)
    image: str = ""
    is_image_there: bool | None = None
    image_architectures: tuple[str, ...] = ()
    subnets_without_way_out: tuple[str, ...] | None = None
    missing_roles: tuple[str, ...] | None = None
    unseen: tuple[str, ...] = ()

    def quota_of(self, instance_type: str, *, is_spot: bool) -> tuple[str, float | None]:
        """The quota that hosts of a type count against: its name, and its vCPUs if known."""
        named = quota_of(instance_type, is_spot=is_spot)
        return (named.name, self.quota_vcpus.get(named)) if named else ("", None)


@dataclass(kw_only=True)
class Inspector:
    """Queries AWS, each query independently: refusals and missing answers are noted, and the rest continues."""

    batch: Any = field(default_factory=lambda: session.client("batch"))
    unseen: list[str] = field(default_factory=list)

    def look(self, queue: str, *, image: str = "", roles: Iterable[str] = (), is_cloud: bool = True) -> Surroundings:
        """The surroundings of a queue's jobs. Raises NotFound if there is no such queue."""
        found = self.queue(queue)
        seen = Surroundings(queue=found, ahead=self._try("the front of the queue", lambda: self._ahead(found.name)))
        if is_cloud:
            seen = self._look_at_cloud(seen, image, tuple(roles))
        else:
            self.unseen.append("image, network, roles and quotas: the local region's hosts need none of them")
        return replace(seen, unseen=tuple(self.unseen))

    def _look_at_cloud(self, seen: Surroundings, image: str, roles: tuple[str, ...]) -> Surroundings:
        environments = seen.queue.environments
        subnets = sorted({subnet for each in environments for subnet in each.subnets})
        profiles = sorted({each.instance_role for each in environments if each.instance_role})
        is_there, architectures = self._try("the image", lambda: self.image(image)) or (None, ())
        return replace(
            seen,
            image=image,
            is_image_there=is_there,
            image_architectures=architectures,
            quota_vcpus=self._quotas(environments),
            subnets_without_way_out=self._try("the subnets' routes", lambda: self._closed_subnets(subnets)),
            missing_roles=self._try("the roles", lambda: self._missing_roles(profiles, roles)),
        )

    def _try(self, what: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except SpotbatchError as error:
            self.unseen.append(f"{what}: {error}")
            return None

    # ---- Batch ----

    def queue(self, name: str) -> Queue:
        """A queue and its environments. Raises NotFound."""
        found = self.batch.describe_job_queues(jobQueues=[name])["jobQueues"]
        if not found:
            raise NotFound(f"there is no job queue {name!r} here: --queue names another, --region another region")
        shape = found[0]
        order = sorted(shape["computeEnvironmentOrder"], key=lambda each: each["order"])
        names = [each["computeEnvironment"] for each in order]
        described = self.batch.describe_compute_environments(computeEnvironments=names)["computeEnvironments"]
        by_arn = {each["computeEnvironmentArn"]: each for each in described}
        return Queue(
            name=shape["jobQueueName"],
            state=shape["state"],
            status=shape.get("status", ""),
            status_reason=shape.get("statusReason", ""),
            priority=shape.get("priority", 0),
            environments=tuple(_environment(by_arn[arn]) for arn in names if arn in by_arn),
        )

    def _ahead(self, queue: str) -> tuple[str, ...]:
        jobs = self.batch.get_job_queue_snapshot(jobQueue=queue).get("frontOfQueue", {}).get("jobs", [])
        return tuple(str(each["jobArn"]).rpartition("job/")[2] for each in jobs)

    # ---- the rest of AWS ----

    def _quotas(self, environments: Iterable[Environment]) -> dict[Quota, float]:
        """The quotas on what the environments can launch: GPU families and Spot have their own."""
        found: dict[Quota, float] = {}
        for quota in sorted({each for one in environments for each in _quotas_of(one)}, key=lambda each: each.code):
            vcpus = self._try(f"the quota {quota.name}", lambda code=quota.code: _quota_vcpus(code))  # type: ignore[misc]
            if vcpus is not None:
                found[quota] = vcpus
        return found

    def image(self, image: str) -> tuple[bool | None, tuple[str, ...]]:
        """Whether the image is in its registry, and for which architectures; only ECR can be asked."""
        registry, _, rest = image.partition("/")
        if _ECR_HOST not in registry:
            if image:
                self.unseen.append(f"the image {image}: it is not in ECR, so its registry is not asked")
            return None, ()
        repository, _, tag = rest.partition("@" if "@" in rest else ":")
        wanted: Any = {"imageDigest": tag} if "@" in rest else {"imageTag": tag or "latest"}
        ecr: Any = session.client("ecr")
        try:
            answer = ecr.batch_get_image(repositoryName=repository, imageIds=[wanted], acceptedMediaTypes=_MANIFESTS)
        except NotFound:
            return False, ()
        if not answer["images"]:
            return False, ()
        manifest = json.loads(answer["images"][0].get("imageManifest") or "{}")
        if "manifests" in manifest:
            return True, _architectures(each.get("platform", {}) for each in manifest["manifests"])
        settings = self._try("the image's architecture", lambda: _image_settings(ecr, repository, manifest))
        return True, _architectures([settings or {}])

    def _closed_subnets(self, subnets: list[str]) -> tuple[str, ...]:
        """Subnets without a route to an internet or NAT gateway, and without endpoints as a substitute."""
        if not subnets:
            return ()
        ec2: Any = session.client("ec2")
        described = ec2.describe_subnets(SubnetIds=subnets)["Subnets"]
        networks = sorted({each["VpcId"] for each in described})
        tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": networks}])["RouteTables"]
        closed = [each for each in described if not _has_way_out(each, tables)]
        if not closed:
            return ()
        endpoints = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": networks}])["VpcEndpoints"]
        private = {each["VpcId"] for each in endpoints if each["ServiceName"].endswith(".ecr.dkr")}
        return tuple(each["SubnetId"] for each in closed if each["VpcId"] not in private)

    def _missing_roles(self, profiles: list[str], roles: tuple[str, ...]) -> tuple[str, ...]:
        iam: Any = session.client("iam")
        missing = []
        for profile in profiles:
            name = profile.rpartition("/")[2]
            if not _is_there(lambda one=name: iam.get_instance_profile(InstanceProfileName=one)):  # type: ignore[misc]
                missing.append(f"instance profile {name}")
        for role in roles:
            name = role.rpartition("/")[2]
            if name and not _is_there(lambda one=name: iam.get_role(RoleName=one)):  # type: ignore[misc]
                missing.append(f"role {name}")
        return tuple(missing)


def _is_there(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (NotFound, InvalidInput):
        return False
    return True


def _environment(shape: Mapping[str, Any]) -> Environment:
    resources: Mapping[str, Any] = shape.get("computeResources", {})
    return Environment(
        name=shape["computeEnvironmentName"],
        state=shape.get("state", "ENABLED"),
        status=shape.get("status", ""),
        status_reason=shape.get("statusReason", ""),
        is_spot=resources.get("type") in ("SPOT", "FARGATE_SPOT"),
        max_vcpus=resources.get("maxvCpus", 0),
        desired_vcpus=resources.get("desiredvCpus"),
        instance_types=tuple(resources.get("instanceTypes", ())),
        bid_percentage=resources.get("bidPercentage"),
        subnets=tuple(resources.get("subnets", ())),
        instance_role=resources.get("instanceRole", ""),
    )


def _quotas_of(environment: Environment) -> set[Quota]:
    """The quotas that an environment's hosts count against (`optimal` stands for standard families)."""
    named = (each.partition("_")[0] for each in environment.instance_types)
    found = (quota_of("m5" if each == "optimal" else each, is_spot=environment.is_spot) for each in named)
    return {each for each in found if each}


def _quota_vcpus(code: str) -> float:
    answer = session.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)
    return float(answer["Quota"]["Value"])


def _image_settings(ecr: Any, repository: str, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of an image for one architecture, which says what it was built for: a small JSON blob in ECR."""
    from urllib.request import urlopen  # some ms, which every submission would pay

    digest = manifest.get("config", {}).get("digest")
    if not digest:
        raise NotFound("its manifest does not say")
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)["downloadUrl"]
    try:
        with urlopen(url, timeout=_BLOB_SECONDS) as answer:  # noqa: S310 - the address is AWS's answer
            settings: Mapping[str, Any] = json.loads(answer.read(_MOST_BLOB_BYTES))
    except (OSError, ValueError) as error:
        raise Unavailable(f"ECR did not hand out {digest[:19]}: {error}") from error
    return settings


def _architectures(platforms: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The architectures, by EC2's names."""
    names = {"amd64": "x86_64", "arm64": "arm64"}
    found = (each.get("architecture", "") for each in platforms)
    return tuple(dict.fromkeys(names[each] for each in found if each in names))


def _has_way_out(subnet: Mapping[str, Any], tables: Iterable[Mapping[str, Any]]) -> bool:
    """Whether it has one by its own route table, or the network's main one."""
    own = main = None
    for table in tables:
        if table["VpcId"] != subnet["VpcId"]:
            continue
        for association in table.get("Associations", []):
            if association.get("SubnetId") == subnet["SubnetId"]:
                own = table
            elif association.get("Main"):
                main = table
    routes = (own or main or {}).get("Routes", [])
    return any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0"
        and route.get("State") != "blackhole"
        and (
            str(route.get("GatewayId", "")).startswith("igw-") or "NatGatewayId" in route or "TransitGatewayId" in route
        )
        for route in routes
    )
