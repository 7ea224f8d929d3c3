"""Multi-node parallel jobs with a single node: they run as ordinary single-container jobs.

torchx submits only these, whatever the number of replicas. Jobs with several nodes are refused.
"""

import json
from typing import Final

from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.multi_container import nodes_of, single_container
from spotbatch.local.api.region import Document, Region

_ONLY: Final = "0"
# What AWS Batch tells each node (user guide, "AWS Batch job environment variables"); a single node is the main node.
VARIABLES: Final = {
    "AWS_BATCH_JOB_MAIN_NODE_INDEX": _ONLY,
    "AWS_BATCH_JOB_NODE_INDEX": _ONLY,
    "AWS_BATCH_JOB_NUM_NODES": "1",
}


def container_of(definition: Document, asked: Document) -> tuple[Document, Document, bool]:
    """The container of the only node, the submission's overrides for it, and whether ecsProperties define it.

    Raises ClientException for a job with several nodes.
    """
    properties, overrides = definition["nodeProperties"], asked.get("nodeOverrides", {})
    count = overrides.get("numNodes", properties["numNodes"])
    if count != 1:
        raise ClientException(f"the local region runs multi-node jobs of one node, not {count}: submit container jobs")
    for member in ("containerOverrides", "ecsPropertiesOverride"):
        if member in asked:
            raise ClientException(f"{member} is not for multi-node jobs: use nodeOverrides.nodePropertyOverrides")
    node = next(one for one in properties["nodeRangeProperties"] if nodes_of(one["targetNodes"], 1)[0] == 0)
    changes = [one for one in overrides.get("nodePropertyOverrides", []) if nodes_of(one["targetNodes"], 1)[0] == 0]
    if "container" in node:
        return node["container"], changes[-1].get("containerOverrides", {}) if changes else {}, False
    override = changes[-1].get("ecsPropertiesOverride", {}) if changes else {}
    return single_container(node["ecsProperties"]), override, True


def is_multinode(described: Document) -> bool:
    """Whether a job was submitted by a multi-node definition."""
    return "nodeProperties" in described


def node_of(region: Region, rendered: bytes, asked_id: str) -> bytes:
    """The only node of a job, from the job as DescribeJobs returns it: a node is `<job id>#<index>`."""
    document = json.loads(rendered)
    document |= {
        "jobId": asked_id,
        "jobArn": region.names.arn("job", asked_id),
        "nodeDetails": {"nodeIndex": 0, "isMainNode": True},
    }
    document.pop("nodeProperties", None)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def job_of_node(asked_id: str) -> str | None:
    """The job that a node's id refers to, if possible: all others have indexes that no job here has."""
    job_id, mark, index = asked_id.partition("#")
    return job_id if mark and index == _ONLY else None
