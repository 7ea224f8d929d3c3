"""The request rates published by AWS, as token buckets. Pure: the time is an argument.

Sources: AWS Batch user guide, "Service quotas" (SubmitJob: 50 a second; no rate of its other operations is published);
EC2 developer guide, "Request throttling for the Amazon EC2 API"; ECS developer guide, "Request throttling for the
Amazon ECS API"; botocore's model of CloudWatch Logs, DescribeLogStreams (25 a second). Each EC2 and ECS operation has
a bucket of its own, of the size of its kind.
"""

from dataclasses import dataclass
from typing import Final

_BATCH: Final = {"SubmitJob": (50.0, 50.0)}
_LOGS: Final = {"DescribeLogStreams": (25.0, 25.0)}
_EC2_READS: Final = (100.0, 20.0)
_EC2_WRITES: Final = (50.0, 5.0)
_ECS_CLUSTERS: Final = (50.0, 20.0)
_ECS_RESOURCES: Final = (100.0, 20.0)
_ECS_CLUSTER_READS: Final = frozenset({"DescribeClusters", "ListClusters"})
_READS: Final = ("Describe", "List", "Get")


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float  # seconds, on the caller's clock


def limit_of(service: str, operation: str) -> tuple[float, float] | None:
    """(bucket size in tokens, tokens per second) of an operation; None if AWS publishes none."""
    is_read = operation.startswith(_READS)
    match service:
        case "batch":
            return _BATCH.get(operation)
        case "logs":
            return _LOGS.get(operation)
        case "ec2":
            return _EC2_READS if is_read else _EC2_WRITES
        case "ecs" if is_read:
            return _ECS_CLUSTERS if operation in _ECS_CLUSTER_READS else _ECS_RESOURCES
        case _:
            return None


class RateLimits:
    """The buckets of one account in one region."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def takes(self, service: str, operation: str, now: float) -> bool:
        """Whether a request may pass at this time (seconds, any epoch); if so it takes a token."""
        limit = limit_of(service, operation)
        if limit is None:
            return True
        size, refill = limit
        bucket = self._buckets.setdefault((service, operation), _Bucket(size, now))
        bucket.tokens = min(size, bucket.tokens + (now - bucket.filled_at) * refill)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
