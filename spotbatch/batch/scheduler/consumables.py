"""Who holds how much of each consumable resource. A unit at the head of its queue waits until it can have all it needs.

User guide, "Specify the resources needed to run a job": they are locked when a job moves to STARTING and unlocked when
it moves to SUCCEEDED or FAILED; so a unit that is retried keeps them. Here they are locked already for a unit that is
bound to a booting host. AWS does not say what becomes of a resource that is not replenishable: here, what a unit that
was started held is used up.
"""

from spotbatch.batch.consumable import ConsumableResource
from spotbatch.batch.errors import NotFound
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.dispatch import fill
from spotbatch.batch.scheduler.state import State


def consumable_put(state: State, event: ev.ConsumablePut) -> None:
    """Created, or changed: what jobs hold and have used up stays."""
    book = state.consumables
    before = book.resources.get(event.resource.name)
    resource = event.resource
    if before is not None and before.consumed > resource.consumed:
        resource = ConsumableResource(
            name=resource.name,
            total=resource.total,
            is_replenishable=resource.is_replenishable,
            consumed=before.consumed,
        )
    book.resources[resource.name] = resource
    book.has_changed = True


def consumable_removed(state: State, event: ev.ConsumableRemoved) -> None:
    if state.consumables.resources.pop(event.name, None) is None:
        raise NotFound(f"there is no consumable resource {event.name!r}")
    state.consumables.has_changed = True


def retry_waiting(state: State) -> None:
    """Who holds what has changed: every head is looked at again, by priority, until nothing changes any more.

    One that now lacks something no longer holds back others, which it did while it waited for room.
    """
    while state.consumables.has_changed:
        state.consumables.has_changed = False
        for queue in sorted(state.queues.values(), key=lambda one: -one.spec.priority):
            fill(state, queue)
