"""Consumable resources: licences, bandwidth and the like, which jobs need besides vCPUs and memory.

AWS Batch user guide, "Resource-aware scheduling".
"""

from dataclasses import dataclass
from typing import Final

from spotbatch.batch.errors import InvalidInput

MOST_CONSUMABLES_OF_A_JOB: Final = 5  # user guide, "Specify the resources needed to run a job"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumableResource:
    """A resource and its total; `consumed` is what ended jobs have used up of one that is not replenishable."""

    name: str
    total: int
    is_replenishable: bool = True
    consumed: int = 0

    def __post_init__(self) -> None:
        if self.total < 0:
            raise InvalidInput(f"consumable resource {self.name}: its total must be 0 or more, not {self.total}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumableNeed:
    """How much of a resource each unit of a job needs."""

    name: str
    quantity: int
