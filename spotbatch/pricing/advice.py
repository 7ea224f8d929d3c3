"""Right-sizing advice: compares what jobs requested with what they used, and prices the difference."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from spotbatch.pricing.ledger import Entry, share_of
from spotbatch.pricing.usage import AttemptUse, HostLife

_MEMORY_ROOM: Final = 1.2  # the highest peak plus a fifth
_CPU_ROOM: Final = 1.1
_TIGHT: Final = 0.9  # a peak above this share of the request means that the job may be killed
_WORTH_SAYING: Final = 0.75  # over-requesting memory by less than a quarter is not worth reporting
_MEMORY_STEP_MIB: Final = 128
_LEAST_SECONDS: Final = 10.0  # shorter attempts say little about CPU use


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """What to ask for instead, for one job name. `usd` is what the difference cost in this run.

    The saving is real only if other jobs fill the space or smaller hosts are used, so it is an upper bound.
    """

    job_name: str
    resource: str  # "vCPUs" or "memory"
    asked: float  # vCPUs or MiB
    used: float  # the highest use of any attempt
    suggested: float
    usd: Decimal
    is_warning: bool  # the request was too small, rather than too large
    attempts: int

    @property
    def text(self) -> str:
        """The advice as a sentence."""
        unit = "" if self.resource == "vCPUs" else " MiB"
        seen = f"{self.job_name}: asks for {self.asked:g}{unit} {self.resource}, uses at most {self.used:.4g}{unit}"
        if self.is_warning:
            return f"{seen}: ask for {self.suggested:g}{unit}, or it may be killed"
        saved = f" (up to {self.usd:.4f} USD of this run)" if round(self.usd, 4) else ""
        return f"{seen}: {self.suggested:g}{unit} would do{saved}"

    def to_json(self) -> dict[str, object]:
        return {
            "job_name": self.job_name,
            "resource": self.resource,
            "asked": self.asked,
            "used": round(self.used, 3),
            "suggested": self.suggested,
            "usd": f"{self.usd:.9f}",
            "is_warning": self.is_warning,
            "attempts": self.attempts,
            "text": self.text,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """An attempt with a record, the host that it ran on, and what it cost there."""

    attempt: AttemptUse
    host: HostLife
    gross_usd: Decimal

    def saved_by(self, *, vcpus: float | None = None, memory_mib: int | None = None) -> Decimal:
        """What a smaller request would have saved: nothing if the other resource determines the share."""
        before = share_of(self.attempt, self.host)
        asked = replace(
            self.attempt,
            vcpus=self.attempt.vcpus if vcpus is None else vcpus,
            memory_mib=self.attempt.memory_mib if memory_mib is None else memory_mib,
        )
        return self.gross_usd * (1 - share_of(asked, self.host) / before) if before else Decimal(0)


def advise(entries: Iterable[Entry]) -> tuple[Advice, ...]:
    """Advice for each job name whose attempts have records: warnings first, then by cost, highest first.

    Attempts whose request differs from the job name's latest one are left out.
    """
    by_name: dict[str, list[_Measured]] = defaultdict(list)
    for each in _measured(entries):
        by_name[each.attempt.job_name].append(each)
    found: list[Advice] = []
    for name, group in by_name.items():
        latest = max(group, key=lambda one: one.attempt.started_at).attempt
        asked = (latest.vcpus, latest.memory_mib)
        alike = [each for each in group if (each.attempt.vcpus, each.attempt.memory_mib) == asked]
        found += [*_about_memory(name, alike), *_about_vcpus(name, alike)]
    return tuple(sorted(found, key=lambda one: (not one.is_warning, -one.usd, one.job_name, one.resource)))


def _measured(entries: Iterable[Entry]) -> list[_Measured]:
    cost: dict[int, Decimal] = defaultdict(Decimal)
    found: dict[int, tuple[AttemptUse, HostLife]] = {}
    for each in entries:
        attempt = each.attempt
        if attempt is not None and attempt.observed is not None and attempt.outcome.is_over:
            found[id(attempt)] = (attempt, each.host)
            cost[id(attempt)] += each.gross_usd
    return [_Measured(attempt=one, host=host, gross_usd=cost[key]) for key, (one, host) in found.items()]


def _about_memory(name: str, group: Sequence[_Measured]) -> Iterator[Advice]:
    seen = [each.attempt.observed for each in group]
    peaks = [one.peak_memory_mib for one in seen if one is not None and one.peak_memory_mib]
    asked = group[0].attempt.memory_mib
    if not peaks or asked <= 0:
        return
    suggested = math.ceil(max(peaks) * _MEMORY_ROOM / _MEMORY_STEP_MIB) * _MEMORY_STEP_MIB
    is_warning = max(peaks) > asked * _TIGHT
    if is_warning or suggested <= asked * _WORTH_SAYING:
        saved = (each.saved_by(memory_mib=suggested) for each in group)
        yield Advice(
            job_name=name,
            resource="memory",
            asked=asked,
            used=max(peaks),
            suggested=suggested,
            usd=Decimal(0) if is_warning else sum(saved, Decimal(0)),
            is_warning=is_warning,
            attempts=len(peaks),
        )


def _about_vcpus(name: str, group: Sequence[_Measured]) -> Iterator[Advice]:
    used = [cores for each in group if (cores := _cores(each.attempt)) is not None]
    asked = group[0].attempt.vcpus
    if not used or asked <= 1:
        return
    suggested = max(1, math.ceil(max(used) * _CPU_ROOM))
    if suggested < asked:
        yield Advice(
            job_name=name,
            resource="vCPUs",
            asked=asked,
            used=max(used),
            suggested=suggested,
            usd=sum((each.saved_by(vcpus=suggested) for each in group), Decimal(0)),
            is_warning=False,
            attempts=len(used),
        )


def _cores(attempt: AttemptUse) -> float | None:
    """The mean number of cores that an attempt kept busy."""
    if attempt.observed is None or attempt.observed.cpu_seconds is None or attempt.stopped_at is None:
        return None
    seconds = attempt.stopped_at - attempt.started_at
    return attempt.observed.cpu_seconds / seconds if seconds >= _LEAST_SECONDS else None
