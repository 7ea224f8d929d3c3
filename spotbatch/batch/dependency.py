"""What a job waits for: another job, the previous child of its array (SEQUENTIAL), or the same index (N_TO_N)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_DEPENDENCIES: Final = 20


class DependencyType(StrEnum):
    """AWS Batch user guide, "Job dependencies"; PLAIN is the type that the API omits."""

    PLAIN = "PLAIN"
    SEQUENTIAL = "SEQUENTIAL"
    N_TO_N = "N_TO_N"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """One entry of dependsOn. SEQUENTIAL has no job id; the id may name one child (`id:index`)."""

    job_id: str | None = None
    type: DependencyType = DependencyType.PLAIN
