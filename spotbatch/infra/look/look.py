"""Metrics that AWS Batch does not provide, collected periodically: depth, vCPUs, INVALID environments, no progress.

A Lambda function whose source goes into the template. It prints CloudWatch's embedded metric format, and nothing if
nothing is queued or running: while idle it creates no billable metrics.
"""

import json
import os
import time
from typing import Any

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
MOST_PAGES = 10  # a thousand jobs per status; deeper queues count as that deep
INVALID_WEIGHT = 6  # the alarm sums half an hour: an INVALID environment is reported at the first look


def depth(batch: Any, queue: str) -> dict[str, int]:
    """A queue's jobs by status; for an array, its children, each with its own status."""
    counts = dict.fromkeys(STATUSES, 0)
    arrays = []
    for status in STATUSES:
        pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
        for number, page in enumerate(pages, start=1):
            for job in page["jobSummaryList"]:
                if "size" in job.get("arrayProperties", {}):
                    arrays.append(job["jobId"])
                else:
                    counts[status] += 1
            if number == MOST_PAGES:
                break
    for first in range(0, len(arrays), 100):
        for job in batch.describe_jobs(jobs=arrays[first : first + 100])["jobs"]:
            for status, count in job["arrayProperties"].get("statusSummary", {}).items():
                if status in counts:
                    counts[status] += count
    return counts


def running_vcpus(ecs: Any, cluster: str) -> float:
    """On hosts that have joined the environment's cluster; ECS counts 1,024 units per vCPU."""
    units = 0
    for page in ecs.get_paginator("list_container_instances").paginate(cluster=cluster):
        if arns := page["containerInstanceArns"]:
            found = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)
            for each in found["containerInstances"]:
                units += sum(one.get("integerValue", 0) for one in each["registeredResources"] if one["name"] == "CPU")
    return units / 1024


def look(batch: Any, ecs: Any, queues: list[str], environments: list[str]) -> dict[str, float]:
    """The metrics at this moment."""
    found: dict[str, float] = {"VcpusDesired": 0, "VcpusRunning": 0, "EnvironmentsInvalid": 0}
    for each in batch.describe_compute_environments(computeEnvironments=environments)["computeEnvironments"]:
        found["VcpusDesired"] += each["computeResources"].get("desiredvCpus", 0)
        found["EnvironmentsInvalid"] += each["status"] == "INVALID"
        if cluster := each.get("ecsClusterArn"):
            found["VcpusRunning"] += running_vcpus(ecs, cluster)
            if os.environ.get("INSIGHTS") == "1":
                turn_insights_on(ecs, cluster)
    for queue in queues:
        for status, count in depth(batch, queue).items():
            name = f"Depth{status.title()}"
            found[name] = found.get(name, 0) + count
    stalled = found["DepthRunnable"] > 0 and not found["DepthStarting"] + found["DepthRunning"]
    found["Stalled"] = INVALID_WEIGHT if found["EnvironmentsInvalid"] else int(stalled)
    return found


def turn_insights_on(ecs: Any, cluster: str) -> None:
    """Container Insights: the cluster belongs to AWS Batch, so no template can configure it."""
    settings = ecs.describe_clusters(clusters=[cluster], include=["SETTINGS"])["clusters"][0].get("settings", [])
    wanted = {"name": "containerInsights", "value": "enabled"}
    if wanted not in settings:
        ecs.update_cluster_settings(cluster=cluster, settings=[wanted])


def handler(event: Any, context: Any) -> dict[str, float]:  # noqa: ARG001 - Lambda's signature
    """Runs every few minutes."""
    import boto3  # provided by Lambda

    asked = json.loads(os.environ["WATCHED"])
    found = look(boto3.client("batch"), boto3.client("ecs"), asked["queues"], asked["environments"])
    if any(found.values()):
        metrics = [{"Name": name} for name in found]
        directive = {"Namespace": os.environ["NAMESPACE"], "Dimensions": [[]], "Metrics": metrics}
        head = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
        print(json.dumps({"_aws": head, **found}))  # noqa: T201 - a Lambda's output is its log
    return found
