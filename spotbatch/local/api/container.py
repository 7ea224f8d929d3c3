"""A job's container: AWS's rules for its properties, the overrides of a submission, and what the engine will run."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spotbatch.batch.environment import RESERVED_PREFIX
from spotbatch.batch.job import MIN_TIMEOUT_SECONDS, ResourceRequirements
from spotbatch.batch.retry import Action, EvaluateOnExit, RetryStrategy
from spotbatch.local.api import fargate
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.region import Document
from spotbatch.local.contract import ContainerSpec

DEFAULT_LOG_GROUP: Final = "/aws/batch/job"
_WHOLE: Final = re.compile(r"[0-9]{1,9}")  # no fractions on EC2 (reported in kestra-io/plugin-aws #504)
_IMAGE: Final = re.compile(r"[A-Za-z0-9_:./#@-]{1,255}")  # API reference, ContainerProperties; @ precedes a digest
_LIST_MEMBERS: Final = (
    "command",
    "environment",
    "mountPoints",
    "resourceRequirements",
    "secrets",
    "ulimits",
    "volumes",
)
_PLACEHOLDER: Final = "Ref::"


def checked_properties(properties: Document, *, on_fargate: bool = False) -> Document:
    """containerProperties with AWS's defaults filled in. Raises ClientException as RegisterJobDefinition would."""
    image = properties.get("image")
    if not image or not _IMAGE.fullmatch(image):
        allowed = "1 to 255 characters: letters, digits and -_:./#@"
        raise ClientException(f"Container properties: image must have {allowed}, not {(image or '')[:300]!r}")
    check_environment(properties.get("environment", []))
    if on_fargate:
        fargate.check_container(properties)
        properties = fargate.with_defaults(properties)
    else:
        requirements(properties)
        for member in fargate.ONLY_FARGATE:
            if member in properties:
                raise ClientException(f"Container properties: {member} is for jobs with the platform FARGATE, not EC2")
    kept = {"environment": with_values(properties.get("environment", []))}
    return {**{member: [] for member in _LIST_MEMBERS}, **properties, **kept}


def with_values(variables: Sequence[Document]) -> list[Document]:
    """The variables that AWS keeps: one without a value is accepted and dropped, in ECS too.

    Reported in hashicorp/terraform-provider-aws #29820 and #39533.
    """
    return [variable for variable in variables if variable.get("value")]


def check_environment(variables: Sequence[Mapping[str, str]]) -> None:
    """Raises ClientException for a variable that AWS Batch reserves or that no process can have."""
    for variable in variables:
        name = variable.get("name", "")
        if name.startswith(RESERVED_PREFIX):
            raise ClientException(
                f"environment variables that begin with {RESERVED_PREFIX} are AWS Batch's own, not {name!r}"
            )
        if not name or "=" in name:
            raise ClientException(f"an environment variable needs a name without '=', not {name[:200]!r}")


def requirements(properties: Document, *, on_fargate: bool = False) -> ResourceRequirements:
    """What one attempt needs, from resourceRequirements or the deprecated members. Raises ClientException."""
    if on_fargate:
        return fargate.requirements(properties)
    values = {}
    for entry in properties.get("resourceRequirements", []):
        kind = entry["type"]
        if kind in values:
            raise ClientException(f"resourceRequirements must not hold {kind} twice")
        values[kind] = _whole(kind, entry["value"])
    for kind, member in (("VCPU", "vcpus"), ("MEMORY", "memory")):
        if kind not in values:
            if not properties.get(member):
                raise ClientException(
                    f"resourceRequirements must contain {kind}, as nothing else says how much is needed"
                )
            values[kind] = properties[member]
    if values["VCPU"] < 1 or values["MEMORY"] < 4 or values.get("GPU", 1) < 1:
        raise ClientException(f"a job needs at least 1 vCPU and 4 MiB of memory, not {values}")
    return ResourceRequirements(vcpus=values["VCPU"], memory_mib=values["MEMORY"], gpus=values.get("GPU", 0))


def _whole(kind: str, value: str) -> int:
    if not _WHOLE.fullmatch(value):
        raise ClientException(  # AWS's wording
            f"Error executing request, Exception : Value {value[:50]} for type {kind} in resourceRequirement is not "
            "valid. Please provide a numeric value."
        )
    return int(value)


def retry_of(strategy: Document) -> RetryStrategy:
    """The rulebook's retry strategy. Raises InvalidJob where AWS would refuse it."""
    entries = strategy.get("evaluateOnExit", [])
    if entries and "attempts" not in strategy:  # API reference, RetryStrategy.evaluateOnExit
        raise ClientException("retryStrategy: attempts must be given where evaluateOnExit is")
    return RetryStrategy(
        attempts=strategy.get("attempts", 1),
        evaluate_on_exit=tuple(
            EvaluateOnExit(
                action=_action(entry["action"]),
                on_exit_code=entry.get("onExitCode"),
                on_reason=entry.get("onReason"),
                on_status_reason=entry.get("onStatusReason"),
            )
            for entry in entries
        ),
    )


def _action(name: str) -> Action:
    if name.upper() not in Action.__members__:
        raise ClientException(f"evaluateOnExit: action can only be one of {list(Action)}, not {name[:50]!r}")
    return Action(name.upper())


def told_strategy(strategy: Document) -> Document:
    """A retry strategy as AWS returns it: actions in lower case, however they were given.

    Sources: the recorded responses in hashicorp/terraform-provider-aws, and moto's.
    """
    if "evaluateOnExit" not in strategy:
        return strategy
    entries = [{**entry, "action": entry["action"].lower()} for entry in strategy["evaluateOnExit"]]
    return {**strategy, "evaluateOnExit": entries}


def timeout_of(timeout: Document) -> int | None:
    """attemptDurationSeconds, checked against its minimum. Raises ClientException."""
    seconds: int | None = timeout.get("attemptDurationSeconds")
    if seconds is not None and seconds < MIN_TIMEOUT_SECONDS:
        raise ClientException(f"attemptDurationSeconds must be at least {MIN_TIMEOUT_SECONDS}, not {seconds}")
    return seconds


def with_overrides(properties: Document, overrides: Document) -> Document:
    """The properties with a submission's overrides applied: by variable name, by requirement type."""
    check_environment(overrides.get("environment", []))
    merged = dict(properties)
    if "" in overrides.get("command", []):
        raise ClientException("Command cannot be empty")  # AWS's wording: boto/boto3 #3612
    if overrides.get("command"):
        merged["command"] = overrides["command"]
    if variables := with_values(overrides.get("environment", [])):
        merged["environment"] = _merged(properties.get("environment", []), variables, "name")
    wanted = overrides.get("resourceRequirements", [])
    named = {entry["type"] for entry in (*wanted, *properties.get("resourceRequirements", []))}
    # Deprecated, but some clients still send them. API reference, ContainerOverrides: they override the deprecated
    # members of the job definition, but not what its resourceRequirements say; those of a submission override all.
    for kind, member in (("VCPU", "vcpus"), ("MEMORY", "memory")):
        if kind in named:
            merged.pop(member, None)
        elif member in overrides:
            merged[member] = overrides[member]
    if wanted:
        merged["resourceRequirements"] = _merged(properties.get("resourceRequirements", []), wanted, "type")
    return merged


def _merged(base: Sequence[Document], changes: Sequence[Document], key: str) -> list[Document]:
    changed = {entry[key]: entry for entry in changes}
    kept = [entry for entry in base if entry[key] not in changed]
    return [*kept, *changed.values()]


def filled_command(command: Sequence[str], parameters: Mapping[str, str]) -> tuple[str, ...]:
    """The command with each argument `Ref::name` replaced; a name without a value is left as it is."""
    return tuple(
        parameters.get(part.removeprefix(_PLACEHOLDER), part) if part.startswith(_PLACEHOLDER) else part
        for part in command
    )


def spec_of(
    properties: Document,
    command: tuple[str, ...],
    definition_name: str,
    *,
    start_error: str = "",
    more: Mapping[str, str] | None = None,
    on_fargate: bool = False,
) -> ContainerSpec:
    """What the engine starts for each attempt; `more` are AWS Batch's own variables."""
    needs = requirements(properties, on_fargate=on_fargate)
    return ContainerSpec(
        image=properties["image"],
        command=command,
        environment={entry["name"]: entry.get("value", "") for entry in properties.get("environment", [])}
        | dict(more or {}),
        secrets={entry["name"]: entry["valueFrom"] for entry in properties.get("secrets", [])},
        memory_mib=needs.memory_mib,
        vcpus=needs.vcpus,
        gpus=needs.gpus,
        log_group=log_group_of(properties),
        log_stream_prefix=log_prefix_of(properties) or definition_name,
        stop_timeout=properties.get("stopTimeout"),
        start_error=start_error,
    )


def log_group_of(properties: Mapping[str, Any]) -> str:
    """The CloudWatch log group that a container writes to."""
    group: str = _log_options(properties).get("awslogs-group", DEFAULT_LOG_GROUP)
    return group


def log_prefix_of(properties: Mapping[str, Any]) -> str:
    """The prefix of a container's log streams; "" if it is the job definition's name."""
    return _log_options(properties).get("awslogs-stream-prefix", "")


def _log_options(properties: Mapping[str, Any]) -> Mapping[str, str]:
    log = properties.get("logConfiguration", {})
    options: Mapping[str, str] = log.get("options", {}) if log.get("logDriver", "awslogs") == "awslogs" else {}
    return options
