"""Job definitions with several containers (ecsProperties) or nodes (nodeProperties): AWS's rules for them."""

import re
from collections.abc import Sequence
from typing import Final

from spotbatch.local.api.container import checked_properties
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.region import Document

_MOST_CONTAINERS: Final = 10
_AFTER_ITS_END: Final = ("COMPLETE", "SUCCESS")
_CONDITIONS: Final = ("START", *_AFTER_ITS_END)
_NODES: Final = re.compile(r"([0-9]{1,6})?:([0-9]{1,6})?|([0-9]{1,6})")


def checked_ecs(properties: Document) -> Document:
    """ecsProperties, if AWS would accept them (API reference, EcsTaskProperties). Raises ClientException."""
    tasks = properties["taskProperties"]
    if len(tasks) != 1 or not 1 <= len(tasks[0]["containers"]) <= _MOST_CONTAINERS:
        raise ClientException(f"ecsProperties holds one taskProperties with 1 to {_MOST_CONTAINERS} containers")
    containers = tasks[0]["containers"]
    for container in containers:
        checked_properties(container)
    names = [container["name"] for container in containers if "name" in container]
    if len(set(names)) < len(names):
        raise ClientException(f"the containers of a task have names of their own, not {names}")
    if not any(_is_essential(container) for container in containers):
        raise ClientException("a task needs at least one essential container, and none is")
    for container in containers:
        for entry in container.get("dependsOn", []):
            _check_dependency(container, entry, containers)
    return properties


def _is_essential(container: Document) -> bool:
    essential: bool = container.get("essential", True)
    return essential


def _check_dependency(container: Document, entry: Document, containers: Sequence[Document]) -> None:
    """API reference, TaskContainerDependency."""
    name, condition = entry.get("containerName"), entry.get("condition")
    other = next((one for one in containers if name is not None and one.get("name") == name), None)
    if other is None or other is container:
        raise ClientException(f"dependsOn: {name!r:.200} is no other container of the task")
    if condition not in _CONDITIONS:
        raise ClientException(f"dependsOn: condition can only be one of {list(_CONDITIONS)}, not {condition!r:.50}")
    if condition in _AFTER_ITS_END and _is_essential(other):
        raise ClientException(f"dependsOn: {condition} waits for a container that is not essential; {name!r:.200} is")


def checked_nodes(properties: Document) -> Document:
    """nodeProperties, if AWS would accept them (API reference, NodeProperties). Raises ClientException."""
    count = properties["numNodes"]
    if count < 1 or not 0 <= properties["mainNode"] < count:
        main = properties["mainNode"]
        raise ClientException(f"numNodes must be at least 1 and mainNode below it, not {count} and {main}")
    begin = 0
    for first, last in sorted(_nodes_of(one, count) for one in properties["nodeRangeProperties"]):
        if first > begin:
            break
        begin = max(begin, last + 1)
    if begin < count:
        raise ClientException(f"the targetNodes of all node ranges must hold every node: node {begin} is in none")
    return properties


def _nodes_of(node_range: Document, count: int) -> tuple[int, int]:
    """The first and the last node of a range, whose container is checked too."""
    given = node_range["targetNodes"]
    first, last = nodes_of(given, count)
    if not first <= last < count:
        raise ClientException(f"targetNodes {given} does not fit {count} nodes: they are 0 to {count - 1}")
    if ("container" in node_range) == ("ecsProperties" in node_range):
        raise ClientException(f"the node range {given} has a container or ecsProperties")
    if "container" in node_range:
        checked_properties(node_range["container"])
    else:
        checked_ecs(node_range["ecsProperties"])
    return first, last


def nodes_of(given: str, count: int) -> tuple[int, int]:
    """The first and the last node of a range such as 0:3, :3, 2: or 1. Raises ClientException for anything else."""
    match = _NODES.fullmatch(given)
    if match is None or given == ":":
        raise ClientException(f"targetNodes is a range such as 0:3, :3 or 2:, not {given[:50]!r}")
    return int(match[1] or match[3] or 0), int(match[2] or match[3] or count - 1)


def single_container(properties: Document) -> Document:
    """The only container of ecsProperties. Raises ClientException if there are several."""
    containers = properties["taskProperties"][0]["containers"]
    if len(containers) > 1:
        raise ClientException(f"the local region runs one container a job, not {len(containers)}")
    single: Document = containers[0]
    return single


def override_of(container: Document, asked: Document) -> Document:
    """What an ecsPropertiesOverride changes in a task's only container. Raises ClientException."""
    tasks = asked.get("taskProperties", [])
    overrides = [one for task in tasks for one in task.get("containers", [])]
    if len(tasks) > 1 or len(overrides) > 1:
        raise ClientException("ecsPropertiesOverride: the job definition has one task with one container")
    override: Document = overrides[0] if overrides else {}
    if override.get("name", container.get("name")) != container.get("name"):
        raise ClientException(
            f"ecsPropertiesOverride: the job definition has no container {override['name'][:200]!r}, "
            f"but {container.get('name')!r}"
        )
    return override
