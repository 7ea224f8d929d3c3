"""A rule's finding: where, what it costs or risks, the evidence, the fix, and the source."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity, by SARIF's names (SARIF 2.1.0, 3.27.10)."""

    ERROR = "error"  # jobs cannot run like this, or an update cannot be deployed
    WARNING = "warning"  # it costs money or work


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One finding. `resource` is a logical id in the template, or the name of a live resource."""

    rule: str
    level: Level
    resource: str
    path: str  # the property, e.g. ComputeResources.BidPercentage
    risk: str
    evidence: str
    fix: str
    source: str  # a page of AWS's documentation
