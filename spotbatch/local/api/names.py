"""AWS Batch's names: the ARNs of this region's resources, and the names that callers may use for a resource."""

import re
from dataclasses import dataclass
from typing import Final

from spotbatch.local.api.errors import ClientException

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_JOB_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:(0|[1-9][0-9]{0,3}))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """Builds and reads the ARNs of one account in one region."""

    region: str
    account_id: str

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a Batch resource; `kind` is job, job-queue, compute-environment, ..."""
        return f"arn:aws:batch:{self.region}:{self.account_id}:{kind}/{name}"

    def ecs_arn(self, kind: str, cluster: str, name: str = "") -> str:
        """The ARN of what ECS would run for Batch: cluster, task, container-instance."""
        tail = f"{cluster}/{name}" if name else cluster
        return f"arn:aws:ecs:{self.region}:{self.account_id}:{kind}/{tail}"

    def name_of(self, kind: str, reference: str) -> str:
        """The name that a name or an ARN refers to. Raises ClientException for another kind of ARN."""
        if not reference.startswith("arn:"):
            return reference
        prefix = self.arn(kind, "")
        if not reference.startswith(prefix):
            raise ClientException(f"{reference!r} is no {kind} of this account and region; its ARN begins {prefix}")
        return reference.removeprefix(prefix)


def check_name(member: str, name: str) -> str:
    """The name, if AWS Batch would allow it. Raises ClientException."""
    if not _NAME.fullmatch(name):
        raise ClientException(
            f"{member} must be up to 128 letters, digits, hyphens and underscores and begin with a letter or digit, "
            f"not {name[:200]!r}"
        )
    return name


def is_job_id(text: str) -> bool:
    """Whether a string is the canonical form of a job's id, or of an array child's (`<id>:<index>`)."""
    return _JOB_ID.fullmatch(text) is not None
