"""Register, describe and deregister job definitions and their revisions (API reference, JobDefinition)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from spotbatch.local.api import consumables, fargate, tags
from spotbatch.local.api.container import (
    DEFAULT_LOG_GROUP,
    checked_properties,
    log_group_of,
    retry_of,
    timeout_of,
    told_strategy,
)
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.multi_container import checked_ecs, checked_nodes
from spotbatch.local.api.names import check_name
from spotbatch.local.api.pages import answer_page, check_count
from spotbatch.local.api.region import DEFINITION, Document, Region

_MAX_PAGE: Final = 100
_MAX_REVISION: Final = 2**31
_MAX_PRIORITY: Final = 9999
_KEPT: Final = (
    "parameters",
    "schedulingPriority",
    "retryStrategy",
    "timeout",
    "propagateTags",
    "platformCapabilities",
    "consumableResourceProperties",
)
_KINDS: Final = ("containerProperties", "ecsProperties", "nodeProperties", "eksProperties")


async def register(region: Region, asked: Document) -> Document:
    """RegisterJobDefinition: the next revision of its name. Raises ClientException where AWS would refuse it."""
    name, body = checked(asked)
    revision = last_revision(region, name) + 1
    document: Document = {
        "jobDefinitionName": name,
        "jobDefinitionArn": region.names.arn(DEFINITION, f"{name}:{revision}"),
        "revision": revision,
        "status": "ACTIVE",
        "type": asked["type"],
        "parameters": {},
        **{member: asked[member] for member in _KEPT if member in asked},
        **({"retryStrategy": told_strategy(asked["retryStrategy"])} if "retryStrategy" in asked else {}),
        **body,
        "tags": tags.checked(asked.get("tags", {})),
        "containerOrchestrationType": "ECS",
    }
    await region.engine.put_resource(DEFINITION, f"{name}:{revision}", document)
    return {"jobDefinitionName": name, "jobDefinitionArn": document["jobDefinitionArn"], "revision": revision}


def checked(asked: Document) -> tuple[str, Document]:
    """The name of a definition and its containers' properties. Raises ClientException where AWS would refuse it."""
    name = check_name("jobDefinitionName", asked["jobDefinitionName"])
    fargate.checked_capabilities(asked)
    body = _checked_body(asked)
    retry_of(asked.get("retryStrategy", {}))
    timeout_of(asked.get("timeout", {}))
    if not 0 <= asked.get("schedulingPriority", 0) <= _MAX_PRIORITY:
        raise ClientException(f"schedulingPriority must be 0 to {_MAX_PRIORITY}, not {asked['schedulingPriority']}")
    consumables.checked_needs(asked.get("consumableResourceProperties", {}))
    tags.checked(asked.get("tags", {}))
    return name, body


def _checked_body(asked: Document) -> Document:
    given = [kind for kind in _KINDS if kind in asked]
    if "eksProperties" in given:
        raise ClientException("eksProperties: the local region runs jobs for ECS on EC2 only, not for EKS")
    if asked["type"] == "multinode":
        if given != ["nodeProperties"]:
            raise ClientException(f"a multinode job definition has nodeProperties and no other, not {given}")
        return {"nodeProperties": checked_nodes(asked["nodeProperties"])}
    if given == ["containerProperties"]:
        return {
            "containerProperties": checked_properties(
                asked["containerProperties"], on_fargate=fargate.is_fargate(asked)
            )
        }
    if given == ["ecsProperties"]:
        if fargate.is_fargate(asked):
            raise ClientException("ecsProperties: the local region runs jobs on Fargate with containerProperties only")
        return {"ecsProperties": checked_ecs(asked["ecsProperties"])}
    raise ClientException(f"a container job definition has containerProperties or ecsProperties, and no other: {given}")


def last_revision(region: Region, name: str) -> int:
    """The highest revision of a name, 0 if there is none."""
    documents = region.engine.resources(DEFINITION)
    revisions = (key.rpartition(":") for key in documents)
    return max((int(revision) for base, _, revision in revisions if base == name), default=0)


def log_groups(region: Region) -> set[str]:
    """The log groups that the jobs of this region's definitions write to."""
    containers = (one for body in region.engine.resources(DEFINITION).values() for one in _containers_of(body))
    return {DEFAULT_LOG_GROUP, *(log_group_of(one) for one in containers)}


def _containers_of(definition: Mapping[str, Any]) -> Iterator[Document]:
    """The containers that run: none for a definition with several nodes."""
    if "containerProperties" in definition:
        yield definition["containerProperties"]
    for task in definition.get("ecsProperties", {}).get("taskProperties", []):
        yield from task["containers"]


def resolve(region: Region, reference: str) -> Document:
    """The active definition that a job refers to: with a revision, or the latest. Raises ClientException."""
    name = region.names.name_of(DEFINITION, reference)
    base, _, revision = name.partition(":")
    documents = region.engine.resources(DEFINITION)
    if not revision:
        active = [
            key for key, body in documents.items() if key.partition(":")[0] == base and body["status"] == "ACTIVE"
        ]
        name = max(active, key=lambda key: int(key.partition(":")[2]), default="")
    found = documents.get(name)
    if found is None or found["status"] != "ACTIVE":
        raise ClientException(f"JobDefinition {reference[:300]!r} does not exist or is not ACTIVE")
    return dict(found)


async def deregister(region: Region, asked: Document) -> Document:
    """DeregisterJobDefinition: the revision becomes INACTIVE, and can still be described."""
    document = region.get(DEFINITION, asked["jobDefinition"])
    key = f"{document['jobDefinitionName']}:{document['revision']}"
    await region.engine.put_resource(DEFINITION, key, {**document, "status": "INACTIVE"})
    return {}


async def describe(region: Region, asked: Document) -> Document:
    """DescribeJobDefinitions, the newest revision of each name first."""
    documents = list(region.documents(DEFINITION).values())
    if named := asked.get("jobDefinitions"):
        check_count("jobDefinitions", named, _MAX_PAGE)
        if others := sorted({"jobDefinitionName", "status"} & asked.keys()):
            raise ClientException(f"jobDefinitions can't be used with other parameters, here {others}")
        wanted = {region.names.name_of(DEFINITION, reference) for reference in named}
        documents = [one for one in documents if not wanted.isdisjoint({_key(one), one["jobDefinitionName"]})]
    if name := asked.get("jobDefinitionName"):
        documents = [one for one in documents if one["jobDefinitionName"] == region.names.name_of(DEFINITION, name)]
    if status := asked.get("status"):
        documents = [one for one in documents if one["status"] == status]
    return answer_page(documents, _newest_first, asked, "jobDefinitions", _MAX_PAGE)


def _key(document: Document) -> str:
    return f"{document['jobDefinitionName']}:{document['revision']}"


def _newest_first(document: Document) -> str:
    """A key that sorts by name, and newer revisions of a name before older ones."""
    return f"{document['jobDefinitionName']}:{_MAX_REVISION - document['revision']:010d}"
