"""What the policy sees of the region: the job's instance, and whether Spot capacity is available. Pure."""

from collections.abc import Sequence
from typing import Final

from spotbatch.batch.status import JobStatus
from spotbatch.local.contract import HostView, UnitView
from spotbatch.local.deadline.run import DeadlineRun
from spotbatch.policy.interface import Move, View, is_safe

_RECLAIMED: Final = "RECLAIMED"
_FIRST_QUESTION: Final = 0.05  # fraction of the deadline's length to wait before asking for Spot again after leaving it


def view_of(
    promise: DeadlineRun,
    unit: UnitView,
    hosts: Sequence[HostView],
    done_seconds: float,
    now: float,
    boot_seconds: float,
) -> View:
    """What is known now. A host with a notice counts as lost."""
    instance, began_at = _instance(promise, unit, hosts)
    pending = max(0.0, promise.changeover_seconds - (now - began_at)) if began_at is not None else 0.0
    spot = [host for host in hosts if host.is_spot]
    return View(
        elapsed_seconds=now - promise.created_at,
        done_seconds=done_seconds,
        instance=instance,
        pending_seconds=pending,
        is_spot_available=instance is Move.SPOT or _may_have_spot(promise, unit, spot, now, boot_seconds),
    )


def _may_have_spot(
    promise: DeadlineRun, unit: UnitView, hosts: Sequence[HostView], now: float, boot_seconds: float
) -> bool:
    """Away from Spot, nobody sees whether it came back: the job itself probes by moving, less often each time."""
    last = promise.parts[-1]
    if last.place == "ON_DEMAND":
        left_before = sum(part.place == "ON_DEMAND" for part in promise.parts[:-1])
        patience = promise.terms.deadline_seconds * _FIRST_QUESTION * 2**left_before
        return any(_lives(host) for host in hosts) or now - last.at > patience
    waiting_since = last.at if unit.status is not JobStatus.RUNNING else None
    return is_spot_available(hosts, waiting_since, now, 3 * boot_seconds + promise.terms.tick_seconds)


def _instance(promise: DeadlineRun, unit: UnitView, hosts: Sequence[HostView]) -> tuple[Move, float | None]:
    """The job's instance, and when it was requested; an on-demand host, once requested, is certain to come."""
    by_id = {host.instance_id: host for host in hosts}
    last = unit.attempts[-1] if unit.attempts else None
    if last is not None and last.stopped_at is None and (host := by_id.get(last.instance_id)) is not None:
        if host.is_spot and host.noticed_at is not None:
            return Move.WAIT, None
        return (Move.SPOT if host.is_spot else Move.ON_DEMAND), last.started_at or promise.parts[-1].at
    if promise.parts[-1].place == "ON_DEMAND":
        return Move.ON_DEMAND, promise.parts[-1].at
    return Move.WAIT, None


def is_spot_available(
    hosts: Sequence[HostView], waiting_since: float | None, now: float, patience_seconds: float
) -> bool:
    """A living Spot host means yes; a job that has waited for one too long, or a very recent reclaim, means no."""
    if any(_lives(host) for host in hosts):
        return True
    if waiting_since is not None and now - waiting_since > patience_seconds:
        return False
    reclaims = [host.noticed_at or host.ended_at or 0.0 for host in hosts if _was_reclaimed(host)]
    return not reclaims or now - max(reclaims) > patience_seconds


def _lives(host: HostView) -> bool:
    return host.ended_at is None and host.noticed_at is None


def _was_reclaimed(host: HostView) -> bool:
    return host.noticed_at is not None or host.end_cause == _RECLAIMED


def why(promise: DeadlineRun, view: View, move: Move) -> str:
    """The reason for a move, in words and numbers."""
    terms = promise.terms
    left = terms.deadline_seconds - view.elapsed_seconds
    work = max(0.0, terms.work_seconds - view.done_seconds)
    figures = f"{in_words(left)} to the deadline, {in_words(work)} of work left"
    if move is not Move.ON_DEMAND:
        return f"Spot has capacity, and there is time to lose it: {figures}" if promise.parts else f"begins: {figures}"
    if not is_safe(terms, view, Move.SPOT):
        return f"the safety net: a lost Spot host could now cost the deadline: {figures}"
    if not view.is_spot_available:
        return f"Spot has no capacity, and waiting for it costs more than it may save: {figures}"
    return f"on demand is expected to cost less than the risk: {figures}"


def in_words(seconds: float) -> str:
    """`2 h 5 min`, `3 min 20 s`, `12 s`."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
