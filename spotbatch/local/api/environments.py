"""Create, update, describe and delete compute environments (API reference, ComputeEnvironment)."""

import uuid
from operator import itemgetter
from typing import Final

from spotbatch.batch.job import Vcpus
from spotbatch.batch.placement import AllocationStrategy, ComputeEnvironment
from spotbatch.local.api import ecs, fargate, launch_templates, pools, tags
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.fargate import FARGATE
from spotbatch.local.api.names import check_name
from spotbatch.local.api.pages import answer_page, check_count
from spotbatch.local.api.region import ENVIRONMENT, QUEUE, Document, Region

_MAX_ENVIRONMENTS: Final = 50  # an account's quota (user guide, "Service quotas")
_MAX_PAGE: Final = 100
_SCALE_DOWN_MINUTES: Final = (20, 10_080)  # API reference, ComputeScalingPolicy
# Members of computeResources that UpdateComputeEnvironment may change.
_UPDATABLE: Final = frozenset({
    "minvCpus", "maxvCpus", "subnets", "securityGroupIds", "allocationStrategy", "instanceTypes", "ec2KeyPair",
    "instanceRole", "tags", "placementGroup", "bidPercentage", "launchTemplate", "ec2Configuration", "type", "imageId",
    "scalingPolicy",
})  # fmt: skip
# What a scaling update changes; the rest needs an infrastructure update (user guide, "Updating compute environments").
IN_PLACE: Final = frozenset({"minvCpus", "maxvCpus", "desiredvCpus", "scalingPolicy"})
DEFAULTS: Final = {"minvCpus": 0, "allocationStrategy": "BEST_FIT"}
_AS_GIVEN: Final = ("context", "ecsSettings")
_SERVICE_LINKED: Final = "/aws-service-role/"


async def create(region: Region, asked: Document) -> Document:
    """CreateComputeEnvironment. Raises ClientException where AWS would refuse it."""
    name = check_name("computeEnvironmentName", asked["computeEnvironmentName"])
    if region.find(ENVIRONMENT, name) is not None:
        raise ClientException(f"Object already exists: compute environment {name}")
    if len(region.engine.resources(ENVIRONMENT)) >= _MAX_ENVIRONMENTS:
        raise ClientException(f"an account has at most {_MAX_ENVIRONMENTS} compute environments in a region")
    if "eksConfiguration" in asked:
        raise ClientException("eksConfiguration: the local region runs jobs for ECS on EC2 only, not for EKS")
    document = _document(region, name, asked)
    await put(region, document)
    return {"computeEnvironmentName": name, "computeEnvironmentArn": document["computeEnvironmentArn"]}


def _document(region: Region, name: str, asked: Document) -> Document:
    document: Document = {
        "computeEnvironmentName": name,
        "computeEnvironmentArn": region.names.arn(ENVIRONMENT, name),
        "ecsClusterArn": region.names.ecs_arn("cluster", ecs.cluster_name(region.names, name)),
        "tags": tags.checked(asked.get("tags", {})),
        "type": asked["type"],
        "state": asked.get("state", "ENABLED"),
        "status": "VALID",
        "statusReason": "ComputeEnvironment Healthy",
        "serviceRole": asked.get("serviceRole") or _service_linked_role(region),
        "containerOrchestrationType": "ECS",
        "uuid": str(uuid.uuid4()),
        **{member: asked[member] for member in _AS_GIVEN if member in asked},
    }
    if asked["type"] == "UNMANAGED":
        if "computeResources" in asked:
            raise ClientException("computeResources must not be given for an UNMANAGED compute environment")
        if not asked.get("serviceRole"):
            raise ClientException("serviceRole must be given for an UNMANAGED compute environment")
        document["unmanagedvCpus"] = asked.get("unmanagedvCpus", 0)
        return document
    if "computeResources" not in asked:
        raise ClientException("computeResources must be provided for a MANAGED compute environment")
    if "unmanagedvCpus" in asked:
        raise ClientException("unmanagedvCpus may be set for UNMANAGED compute environments only")
    resources = with_defaults(asked["computeResources"])
    check_resources(resources)
    document |= _standing(region, resources)
    document["computeResources"] = _without_desired(resources)
    document["updatePolicy"] = {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 30}
    return document


def with_defaults(resources: Document) -> Document:
    """computeResources as AWS keeps them: Fargate has none of the defaults for hosts."""
    return resources if resources["type"] in fargate.TYPES else {**DEFAULTS, **resources}


def _standing(region: Region, resources: Document) -> Document:
    """Whether an environment is VALID, and why. An INVALID one launches nothing, and no queue accepts it."""
    problem = launch_templates.problem(region, resources)
    return {"status": "INVALID" if problem else "VALID", "statusReason": problem or "ComputeEnvironment Healthy"}


async def put(region: Region, document: Document) -> None:
    """Store an environment's document, and pass its settings to the scheduler."""
    name = document["computeEnvironmentName"]
    await region.engine.put_resource(ENVIRONMENT, name, document, rules=_rules(region, document))


def _service_linked_role(region: Region) -> str:
    role = "aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
    return f"arn:aws:iam::{region.names.account_id}:role/{role}"


def _is_service_linked(role: str) -> bool:
    return _SERVICE_LINKED in role


def _without_desired(resources: Document) -> Document:
    """The stored part of computeResources: desiredvCpus is computed on request."""
    return {name: value for name, value in resources.items() if name != "desiredvCpus"}


def _rules(region: Region, document: Document) -> ComputeEnvironment:
    """The scheduler's view of an environment. Raises ClientException for values that AWS would refuse."""
    is_enabled = document["state"] == "ENABLED" and document["status"] == "VALID"
    name = document["computeEnvironmentName"]
    if document["type"] == "UNMANAGED":
        return ComputeEnvironment(name=name, pools=(), max_vcpus=0, is_enabled=is_enabled)
    resources = document["computeResources"]
    check_resources(resources)
    if resources["type"] in fargate.TYPES:
        return ComputeEnvironment(
            name=name,
            pools=pools.fargate_pools(resources, region.names.region),
            max_vcpus=resources["maxvCpus"],
            is_spot=resources["type"] == "FARGATE_SPOT",
            is_enabled=is_enabled,
            is_fargate=True,
        )
    return ComputeEnvironment(
        name=name,
        pools=pools.pools_of(resources, region.names.region),
        min_vcpus=resources["minvCpus"],
        max_vcpus=resources["maxvCpus"],
        strategy=AllocationStrategy(resources.get("allocationStrategy", "BEST_FIT")),
        is_spot=resources["type"] == "SPOT",
        is_enabled=is_enabled,
        idle_seconds=_idle_seconds(region, resources),
    )


def _idle_seconds(region: Region, resources: Document) -> float:
    """How long a host without jobs stays: at least as long as the scaling policy says."""
    delay: int = resources.get("scalingPolicy", {}).get("minScaleDownDelayMinutes", 0)
    return max(region.idle_seconds, 60.0 * delay)


def check_resources(resources: Document) -> None:
    """AWS's rules for computeResources (API reference, ComputeResource). Raises ClientException."""
    kind = resources["type"]
    if kind in fargate.TYPES:
        fargate.check_resources(resources)
        return
    if kind not in ("EC2", "SPOT"):
        raise ClientException(f"computeResources.type: the local region has EC2, SPOT and Fargate, not {kind}")
    least, most = resources["minvCpus"], resources["maxvCpus"]
    if least < 0 or most < 1 or least > most:
        raise ClientException(f"minvCpus must be 0 or more and at most maxvCpus, not {least} and {most}")
    wanted = resources.get("desiredvCpus")
    if wanted is not None and not least <= wanted <= most:
        raise ClientException(f"desiredvCpus must be between minvCpus and maxvCpus, not {wanted}")
    for member in ("instanceTypes", "subnets"):
        if not resources.get(member):
            raise ClientException(f"computeResources.{member} must not be empty for {kind}")
    if not resources.get("instanceRole"):
        raise ClientException(f"computeResources.instanceRole must be set for {kind}")
    if not resources.get("securityGroupIds") and "launchTemplate" not in resources:
        raise ClientException("computeResources.securityGroupIds must be set, or stand in a launch template")
    template = resources.get("launchTemplate", {})
    if "launchTemplateId" in template and "launchTemplateName" in template:
        raise ClientException("launchTemplate has an id or a name, not both")
    _check_spot(resources)
    delay = resources.get("scalingPolicy", {}).get("minScaleDownDelayMinutes", 0)
    if delay and not _SCALE_DOWN_MINUTES[0] <= delay <= _SCALE_DOWN_MINUTES[1]:
        least, most = _SCALE_DOWN_MINUTES
        raise ClientException(f"scalingPolicy.minScaleDownDelayMinutes must be 0 or {least} to {most}, not {delay}")


def _check_spot(resources: Document) -> None:
    strategy = resources.get("allocationStrategy", "BEST_FIT")
    bid = resources.get("bidPercentage")
    if resources["type"] == "SPOT":
        if strategy == "BEST_FIT" and not resources.get("spotIamFleetRole"):
            raise ClientException("computeResources.spotIamFleetRole must be set for SPOT with BEST_FIT")
        if strategy == "BEST_FIT_PROGRESSIVE_ORDERED":
            raise ClientException(f"allocationStrategy {strategy} is for EC2, not for SPOT")
        if bid is not None and not 0 < bid <= 100:
            raise ClientException(f"bidPercentage must be 1 to 100, not {bid}")
    elif bid is not None:
        raise ClientException("bidPercentage may be set for SPOT only")
    elif strategy.startswith("SPOT_"):
        raise ClientException(f"allocationStrategy {strategy} is for SPOT, not for EC2")


async def update(region: Region, asked: Document) -> Document:
    """UpdateComputeEnvironment: changes only what is given."""
    document = region.get(ENVIRONMENT, asked["computeEnvironment"])
    changes = asked.get("computeResources", {})
    _check_update(document, asked, changes)
    _check_desired(document, changes, region.engine.environment_vcpus(document["computeEnvironmentName"]))
    if changes:
        kept = {name: value for name, value in changes.items() if name in _UPDATABLE}
        document["computeResources"] = {**_without_desired(document["computeResources"]), **kept}
    if "computeResources" in document:
        document |= _standing(region, document["computeResources"])
    for member in ("state", "unmanagedvCpus", "serviceRole", "updatePolicy", *_AS_GIVEN):
        if member in asked:
            document[member] = asked[member]
    await put(region, document)
    name = document["computeEnvironmentName"]
    return {"computeEnvironmentName": name, "computeEnvironmentArn": document["computeEnvironmentArn"]}


def _check_update(document: Document, asked: Document, changes: Document) -> None:
    if document["type"] == "UNMANAGED" and changes:
        raise ClientException("an UNMANAGED compute environment has no computeResources to update")
    if document["type"] == "MANAGED" and "unmanagedvCpus" in asked:
        raise ClientException("unmanagedvCpus may be set for UNMANAGED compute environments only")
    role = document["serviceRole"]
    if "serviceRole" in asked and _is_service_linked(asked["serviceRole"]) is not _is_service_linked(role):
        raise ClientException("serviceRole: a service-linked role cannot be changed to another kind of role, nor back")
    kinds = {document.get("computeResources", {}).get("type"), changes.get("type")} - {None}
    if len({kind in fargate.TYPES for kind in kinds}) > 1:
        raise ClientException(f"computeResources.type cannot change between EC2 and Fargate: {sorted(kinds)}")
    if not set(changes) - IN_PLACE or kinds & set(fargate.TYPES):
        return  # Fargate is always updated without interruption
    if document["computeResources"].get("allocationStrategy", "BEST_FIT") == "BEST_FIT":
        raise ClientException(
            f"with BEST_FIT only {sorted(IN_PLACE)} and the state can be updated, not {sorted(changes)}"
        )
    if not _is_service_linked(role):
        raise ClientException(
            f"with serviceRole {role} only {sorted(IN_PLACE)} and the state can be updated, not {sorted(changes)}: "
            "an infrastructure update needs the service-linked role AWSServiceRoleForBatch"
        )


def _check_desired(document: Document, changes: Document, vcpus: Vcpus) -> None:
    """API reference, ComputeResourceUpdate.desiredvCpus: within the limits, and never less than the current value."""
    if "desiredvCpus" not in changes:
        return
    if changes["desiredvCpus"] < vcpus:
        raise ClientException(  # AWS's wording
            "Manually scaling down compute environment is not supported. "
            "Disconnecting job queues from compute environment will cause it to scale-down to minvCpus."
        )
    check_resources({**document["computeResources"], **changes})  # between the new minimum and maximum


async def describe(region: Region, asked: Document) -> Document:
    """DescribeComputeEnvironments. Unknown names are left out, as on AWS."""
    named = asked.get("computeEnvironments", [])
    check_count("computeEnvironments", named, _MAX_PAGE)
    documents = [_as_it_is(region, document) for document in region.documents(ENVIRONMENT).values()]
    if named:
        wanted = {region.names.name_of(ENVIRONMENT, reference) for reference in named}
        documents = [one for one in documents if one["computeEnvironmentName"] in wanted]
    return answer_page(documents, itemgetter("computeEnvironmentName"), asked, "computeEnvironments", _MAX_PAGE)


def _as_it_is(region: Region, document: Document) -> Document:
    """With the vCPUs of the environment's current hosts, since AWS updates desiredvCpus with them."""
    if document.get("computeResources", {}).get("type", FARGATE) in fargate.TYPES:
        return document
    vcpus = region.engine.environment_vcpus(document["computeEnvironmentName"])
    return {**document, "computeResources": {**document["computeResources"], "desiredvCpus": vcpus}}


async def delete(region: Region, asked: Document) -> Document:
    """DeleteComputeEnvironment: must be disabled and not used by any queue."""
    document = region.get(ENVIRONMENT, asked["computeEnvironment"])
    if document["state"] != "DISABLED":
        raise ClientException("Cannot delete, state must be DISABLED")
    arn = document["computeEnvironmentArn"]
    for queue in region.documents(QUEUE).values():
        if any(entry["computeEnvironment"] == arn for entry in queue["computeEnvironmentOrder"]):
            raise ClientException("Cannot delete, found existing JobQueue relationship")
    await region.engine.delete_resource(ENVIRONMENT, document["computeEnvironmentName"])
    return {}
