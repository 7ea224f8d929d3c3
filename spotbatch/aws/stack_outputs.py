"""The outputs of a deployed stack: where jobs go, and where their artifacts and logs are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spotbatch.aws import session
from spotbatch.batch.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

DEFAULT_STACK: Final = "CostOptimizedBatchProcessing"
_NEEDED: Final = ("JobQueueName", "JobDefinitionName")
_MAX_STACKS: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class StackOutputs:
    """The outputs of the stack, as named by app.py; "" if an output is missing."""

    stack: str
    repository_uri: str = ""
    job_queue: str = ""
    job_definition: str = ""
    compute_environment: str = ""
    bucket: str = ""
    log_group: str = ""
    on_demand_queue: str = ""  # only with the setting of that name
    interruption_experiment: str = ""  # only with the setting fault_injection
    controller_table: str = ""  # only with the setting `controller`
    controller_schedule: str = ""


def read(stack: str | None = None, *, cloudformation: "CloudFormationClient | None" = None) -> StackOutputs:
    """The outputs of a stack: the named one, else the default one, else the only one of this kind.

    Raises NotFound if there is none, InvalidInput if there are several to choose from.
    """
    asked = cloudformation or session.client("cloudformation")
    if stack is not None:
        found = _outputs(asked, stack)
        if found is None:
            raise NotFound(f"there is no stack {stack!r} here: --stack names another, --region another region")
        return _ours(stack, found)
    found = _outputs(asked, DEFAULT_STACK)
    return _ours(DEFAULT_STACK, found) if found is not None else _only_one(asked)


def _outputs(cloudformation: "CloudFormationClient", stack: str) -> Mapping[str, str] | None:
    """None if there is no such stack. CloudFormation reports that as a ValidationError, "... does not exist"."""
    try:
        stacks = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except NotFound:
        return None
    return _table(stacks[0]) if stacks else None


def _table(stack: Mapping[str, object]) -> dict[str, str]:
    outputs = stack.get("Outputs", [])
    return {each["OutputKey"]: each["OutputValue"] for each in outputs} if isinstance(outputs, list) else {}


def _only_one(cloudformation: "CloudFormationClient") -> StackOutputs:
    found = dict(_all_of_this_kind(cloudformation))
    if not found:
        raise NotFound(
            "no stack of this kind is deployed here: ./deploy.sh makes one; for the region on this machine "
            "`spotbatch local load TEMPLATE`; or give --queue and --definition"
        )
    if len(found) > 1:
        raise InvalidInput(f"there are several stacks ({', '.join(sorted(found))}): choose one with --stack")
    [(name, outputs)] = found.items()
    return _ours(name, outputs)


def _all_of_this_kind(cloudformation: "CloudFormationClient") -> Iterator[tuple[str, Mapping[str, str]]]:
    pages = cloudformation.get_paginator("describe_stacks").paginate(PaginationConfig={"MaxItems": _MAX_STACKS})
    for page in pages:
        for stack in page["Stacks"]:
            outputs = _table(stack)
            if all(key in outputs for key in _NEEDED):
                yield stack["StackName"], outputs


def _ours(stack: str, outputs: Mapping[str, str]) -> StackOutputs:
    return StackOutputs(
        stack=stack,
        repository_uri=outputs.get("ECRRepositoryURI", ""),
        job_queue=outputs.get("JobQueueName", ""),
        job_definition=outputs.get("JobDefinitionName", ""),
        compute_environment=outputs.get("ComputeEnvironmentName", ""),
        bucket=outputs.get("ArtifactsBucketName", ""),
        log_group=outputs.get("LogGroupName", ""),
        on_demand_queue=outputs.get("OnDemandJobQueueName", ""),
        interruption_experiment=outputs.get("InterruptionExperimentId", ""),
        controller_table=outputs.get("ControllerTableName", ""),
        controller_schedule=outputs.get("ControllerScheduleName", ""),
    )
