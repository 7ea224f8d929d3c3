"""The stack's settings: one model, read from the context key `spotbatch`; synthesis never sees a wrong value."""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.placement import AllocationStrategy
from spotbatch.batch.retry import MAX_ATTEMPTS
from spotbatch.infra import families
from spotbatch.infra.host_data import Fence

CONTEXT_KEY: Final = "spotbatch"
_SIZES: Final = ("large", "xlarge", "2xlarge", "4xlarge")
_FAMILIES: Final = ("c5", "m5", "r5")
LARGEST_PREFIX: Final = 16  # EC2's limits for a VPC
SMALLEST_PREFIX: Final = 20  # smaller ones have no room for a public /24 per zone
_RETENTION_DAYS: Final = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653)

Endpoint = Literal["ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "secretsmanager"]
SecretArn = Annotated[
    str, Field(pattern=r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+-[A-Za-z0-9]{6}$")
]
Days = Annotated[int, Field(ge=1, le=3650)]


class Egress(StrEnum):
    """How instances reach ECR, ECS, CloudWatch and Batch."""

    NAT_GATEWAY = "nat-gateway"  # one NAT gateway: about 36 USD a month while idle, including its address
    NAT_INSTANCE = "nat-instance"  # one small Graviton host for about 7 USD that does the same; AWS does not manage it
    PUBLIC = "public"  # public addresses, no ingress: free while idle


class StackSettings(BaseModel):
    """All configurable properties of the stack. docs/infra.md explains each of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "production"
    # compute
    min_vcpus: Annotated[int, Field(ge=0, le=10_000)] = 0
    max_vcpus: Annotated[int, Field(ge=1, le=10_000)] = 256
    instance_types: tuple[str, ...] = tuple(f"{family}.{size}" for family in _FAMILIES for size in _SIZES)
    allocation_strategy: Literal[
        AllocationStrategy.SPOT_CAPACITY_OPTIMIZED, AllocationStrategy.SPOT_PRICE_CAPACITY_OPTIMIZED
    ] = AllocationStrategy.SPOT_CAPACITY_OPTIMIZED
    bid_percentage: Annotated[int, Field(ge=1, le=100)] = 80
    volume_gib: Annotated[int, Field(ge=30, le=16_384)] = 50
    service_role: Literal["service-linked", "dedicated"] = "service-linked"
    metadata_fence: Fence = "required"  # hosts whose containers can reach its credentials get no jobs; or best effort
    on_demand_fallback: bool = False  # a second environment in the queue, for when there is no Spot capacity
    on_demand_queue: bool = False  # a second queue, on demand only
    controller: bool = False  # keeps deadlines and budgets, grows memory, falls back to on demand; free while idle
    on_demand_max_vcpus: Annotated[int, Field(ge=1, le=10_000)] = 64
    permissions_boundary: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:policy/\S+$")] | None = None
    # jobs
    image_tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] = "latest"
    job_vcpus: Annotated[int, Field(ge=1, le=256)] = 1
    job_memory_mib: Annotated[int, Field(ge=4, le=4_000_000)] = 2048
    job_attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)] = MAX_ATTEMPTS
    job_timeout_seconds: Annotated[int, Field(ge=60, le=2_592_000)] = 86_400
    job_gpus: Annotated[int, Field(ge=0, le=16)] = 0
    job_secrets: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], SecretArn] = Field(
        default_factory=dict  # environment variable: the secret's full ARN in Secrets Manager
    )
    # "blocking": no line is lost, but a job waits while CloudWatch Logs accepts none; "non-blocking": the opposite
    log_mode: Literal["blocking", "non-blocking"] = "blocking"
    # network
    vpc_cidr: Annotated[str, Field(pattern=r"^\d{1,3}(\.\d{1,3}){3}/(1[6-9]|20)$")] = "10.0.0.0/16"
    egress: Egress = Egress.NAT_GATEWAY
    interface_endpoints: tuple[Endpoint, ...] = ()  # each is billed per hour and zone
    flow_logs: bool = False
    egress_ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = (443,)
    # retention
    retain_data: bool = True  # the bucket and the images survive a destroy
    log_retention_days: Literal[_RETENTION_DAYS] = 30  # type: ignore[valid-type]  # CloudWatch Logs' own list
    infrequent_access_days: Annotated[int, Field(ge=30, le=3650)] = 30
    glacier_days: Annotated[int, Field(ge=60, le=3650)] = 90
    old_version_days: Days = 30
    immutable_tags: bool = False  # then push each image under a tag of its own, and set it as image_tag
    kms_key: bool = False  # encrypt the bucket with the stack's own key: 1 USD a month
    access_logs: bool = False  # a second bucket that records who read the first
    # monitoring
    monitoring: bool = True  # dashboard, alarms, events: about 3.40 USD a month, and up to 4.50 for metrics while busy
    container_insights: bool = False  # of the ECS cluster that AWS Batch creates; needs monitoring; billed per metric
    alarm_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    interruptions_per_hour: Annotated[int, Field(ge=1)] = 20  # more than this raise an alarm
    monthly_budget_usd: Annotated[int, Field(ge=1)] | None = None
    fault_injection: bool = False  # `spotbatch interrupt` may interrupt one of the stack's Spot hosts through AWS FIS
    images_kept: Annotated[int, Field(ge=1, le=1000)] = 10

    @field_validator("instance_types")
    @classmethod
    def _types_are_named(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        if not types:
            raise ValueError("at least one instance type is needed; ten or more are interrupted less")
        for each in types:
            families.check(each)
        kinds = {families.architecture(each): each for each in reversed(types)}
        if len(kinds) > 1:
            both = " and ".join(f"{kind} ({each})" for kind, each in sorted(kinds.items()))
            raise ValueError(f"one queue runs one architecture, and an image is built for one; here are {both}")
        return types

    @field_validator("vpc_cidr", mode="before")  # its message is preferred to the pattern's
    @classmethod
    def _range_has_room(cls, cidr: object) -> str:
        try:
            network = IPv4Network(str(cidr))
        except ValueError as error:
            raise ValueError(f"{error}: give an IPv4 range such as 10.0.0.0/16") from error
        if not LARGEST_PREFIX <= network.prefixlen <= SMALLEST_PREFIX:
            size = "small" if network.prefixlen > SMALLEST_PREFIX else "large"
            raise ValueError(
                f"/{network.prefixlen} is too {size}: it must be /{LARGEST_PREFIX} to /{SMALLEST_PREFIX}, to hold two "
                f"subnets in each of up to eight zones"
            )
        return str(network)

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        if self.min_vcpus > self.max_vcpus:
            raise ValueError(f"min_vcpus ({self.min_vcpus}) is above max_vcpus ({self.max_vcpus})")
        if self.job_gpus and not self.has_gpus:
            raise ValueError(f"job_gpus is {self.job_gpus}, but instance_types has hosts without a GPU: give e.g. g5")
        if self.container_insights and not self.monitoring:
            raise ValueError("container_insights is turned on by what monitoring deploys: leave monitoring on")
        if self.egress is Egress.PUBLIC and self.interface_endpoints:
            raise ValueError("interface_endpoints is for private subnets: leave it out, or take another egress")
        if self.immutable_tags and self.image_tag == "latest":
            raise ValueError(
                "image_tag ('latest') can be pushed only once with immutable_tags: name the image's own tag"
            )
        if self.glacier_days < self.infrequent_access_days + 30:
            raise ValueError(
                f"glacier_days ({self.glacier_days}) must be 30 or more after infrequent_access_days "
                f"({self.infrequent_access_days}), as S3 wants it"
            )
        return self

    @property
    def has_gpus(self) -> bool:
        """Whether every host has NVIDIA GPUs."""
        return all(families.has_nvidia_gpu(each) for each in self.instance_types)

    @classmethod
    def read(cls, given: object) -> Self:
        """The settings from a context value (a mapping or None). Raises InvalidInput: key, value, what is allowed."""
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise InvalidInput(f"the context key {CONTEXT_KEY!r} must be an object of settings, not {given!r}")
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise InvalidInput(_explained(error)) from error


def _explained(error: ValidationError) -> str:
    lines = [f"the stack's settings (context key {CONTEXT_KEY!r} in cdk.json) are wrong:"]
    lines.extend(f"  {_one(each)}" for each in error.errors(include_url=False))
    return "\n".join(lines)


def _one(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the settings together"
    if problem["type"] == "extra_forbidden":
        return f"{key}: there is no such setting; there are: {', '.join(sorted(StackSettings.model_fields))}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    value = "" if key == "the settings together" else f" (it is {problem['input']!r})"
    return f"{key}: {message}{value}"
