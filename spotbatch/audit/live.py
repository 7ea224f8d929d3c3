"""From a live queue and job definition to facts, with Describe calls only."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from spotbatch.audit.facts import DEFINITION, ENVIRONMENT, LAUNCH_TEMPLATE, LOG_GROUP, QUEUE, Facts, Resource
from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import NotFound, SpotbatchError
from spotbatch.pricing.catalogue import Catalogue

_DEFAULT_GROUP: Final = "/aws/batch/job"


def facts_of(*, queue: str, definition: str | None, types: Catalogue) -> Facts:
    """A queue with its environments, their launch templates, and a definition with its log group.

    Raises NotFound if the queue or the definition does not exist. What the caller may not read is listed as unseen.
    """
    batch: Any = session.client("batch")
    found = batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    if not found:
        raise NotFound(f"there is no job queue {queue!r} here: --queue names another, --region another region")
    arns = [each["computeEnvironment"] for each in found[0].get("computeEnvironmentOrder", ())]
    shapes = batch.describe_compute_environments(computeEnvironments=arns)["computeEnvironments"] if arns else []
    resources = [_resource(QUEUE, found[0], "jobQueueName", "jobQueueArn")]
    resources += [_resource(ENVIRONMENT, each, "computeEnvironmentName", "computeEnvironmentArn") for each in shapes]
    unseen: list[str] = []
    resources += _launch_templates(shapes, unseen)
    if definition is not None:
        shape = Jobs(batch=batch).definition_shape(definition)
        resources.append(_resource(DEFINITION, shape, "jobDefinitionName", "jobDefinitionArn"))
        resources += _log_groups(shape, unseen)
    unseen.append("roles, NAT gateways and what a template alone says: audit the template for these")
    return Facts(resources=tuple(resources), types=types, is_live=True, unseen=tuple(unseen))


def _resource(kind: str, shape: Mapping[str, Any], name: str, arn: str) -> Resource:
    names = frozenset({str(shape[name]), str(shape.get(arn, ""))})
    return Resource(id=str(shape[name]), type=kind, properties=capitalized(shape), names=names)


def capitalized(value: Any) -> Any:
    """An API response with its members spelled as in CloudFormation: minvCpus becomes MinvCpus."""
    if isinstance(value, Mapping):
        return {f"{name[:1].upper()}{name[1:]}": capitalized(each) for name, each in value.items()}
    return [capitalized(each) for each in value] if isinstance(value, list) else value


def _launch_templates(environments: Sequence[Mapping[str, Any]], unseen: list[str]) -> list[Resource]:
    found = []
    for each in environments:
        named = each.get("computeResources", {}).get("launchTemplate")
        if not named:
            continue
        wanted = named.get("launchTemplateId") or named.get("launchTemplateName")
        key = "LaunchTemplateId" if named.get("launchTemplateId") else "LaunchTemplateName"
        try:
            answer: Any = session.client("ec2").describe_launch_template_versions(
                **{key: wanted}, Versions=[named.get("version") or "$Default"]
            )
        except SpotbatchError as error:
            unseen.append(f"launch template {wanted}: {error}")
            continue
        data: dict[str, Any] = next((one.get("LaunchTemplateData", {}) for one in answer["LaunchTemplateVersions"]), {})
        properties = {"LaunchTemplateData": data}
        names = frozenset({str(wanted)})
        found.append(Resource(id=str(wanted), type=LAUNCH_TEMPLATE, properties=properties, names=names))
    return found


def _log_groups(definition: Mapping[str, Any], unseen: list[str]) -> list[Resource]:
    options = definition.get("containerProperties", {}).get("logConfiguration", {}).get("options", {})
    name = options.get("awslogs-group", _DEFAULT_GROUP)
    try:
        answer: Any = session.client("logs").describe_log_groups(logGroupNamePrefix=name)
    except SpotbatchError as error:
        unseen.append(f"log group {name}: {error}")
        return []
    return [
        Resource(
            id=name,
            type=LOG_GROUP,
            properties={"RetentionInDays": each["retentionInDays"]} if "retentionInDays" in each else {},
            names=frozenset({name}),
        )
        for each in answer["logGroups"]
        if each["logGroupName"] == name
    ]
