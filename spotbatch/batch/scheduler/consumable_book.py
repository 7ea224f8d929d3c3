"""The scheduler's book of consumable resources: their totals, and the units that hold some of them."""

from dataclasses import replace

from spotbatch.batch.consumable import ConsumableResource
from spotbatch.batch.scheduler.job_record import JobRecord


class ConsumableBook:
    """Owned by the state. A unit either holds everything that it needs, or nothing."""

    __slots__ = ("has_changed", "held", "holders", "resources")

    def __init__(self) -> None:
        self.resources: dict[str, ConsumableResource] = {}
        self.held: dict[str, int] = {}  # by resource: what units hold, whether or not the resource still exists
        self.holders: set[int] = set()  # keys of the units
        self.has_changed = False  # since the heads of all queues were looked at

    def in_use(self, name: str) -> int:
        """What units hold, and what is used up for good."""
        return self.held.get(name, 0) + self.resources[name].consumed

    def has_for(self, record: JobRecord, key: int) -> bool:
        """Whether a unit holds what it needs, or could have it now; not if a resource was deleted."""
        return key in self.holders or all(
            need.name in self.resources and self.in_use(need.name) + need.quantity <= self.resources[need.name].total
            for need in record.consumables
        )

    def hold(self, record: JobRecord, key: int) -> None:
        if key not in self.holders:
            self.holders.add(key)
            self.has_changed = True
            for need in record.consumables:
                self.held[need.name] = self.held.get(need.name, 0) + need.quantity

    def release(self, record: JobRecord, key: int, *, was_started: bool) -> list[ConsumableResource]:
        """A unit gives back what it holds. Returns the resources of which it has used up some for good."""
        if key not in self.holders:
            return []
        self.holders.remove(key)
        self.has_changed = True
        used_up = []
        for need in record.consumables:
            self.held[need.name] -= need.quantity
            resource = self.resources.get(need.name)
            if was_started and resource is not None and not resource.is_replenishable:
                resource = replace(resource, consumed=resource.consumed + need.quantity)
                self.resources[need.name] = resource
                used_up.append(resource)
        return used_up
