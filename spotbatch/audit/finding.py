"""What a rule finds: where, what it costs or risks, the evidence, the fix, and who says so."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is; as SARIF calls it (SARIF 2.1.0, 3.27.10)."""

    ERROR = "error"  # jobs cannot run so, or an update cannot be deployed
    WARNING = "warning"  # it costs money or work


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One finding. `resource` is a logical id of the template, or the name of what lives."""

    rule: str
    level: Level
    resource: str
    path: str  # the property, as ComputeResources.BidPercentage
    risk: str
    evidence: str
    fix: str
    source: str  # a page of AWS's documentation
