"""Fitting the hazard model to traces of availability: counts by age, and EM over chunks for the regimes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.hazard import HazardModel, Regime

# Where buckets begin, in ticks of 585 s: fine where hazards change fast.
EDGE_TICKS: Final = (0, 1, 2, 3, 4, 6, 9, 14, 22, 36, 60, 110)
_CHUNK_SECONDS: Final = 60 * 3600.0
_ROUNDS: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings:
    """`prior_ticks`: each regime starts with this many pooled ticks in each bucket, to stabilize sparse ones."""

    regimes: int = 3
    prior_ticks: float = 100.0
    chunk_seconds: float = _CHUNK_SECONDS


def fit(
    traces: Sequence[Sequence[bool]], tick_seconds: float, settings: FitSettings | None = None, source: str = ""
) -> HazardModel:
    """Fit a model to these traces. The same input gives the same model: EM starts from chunks ordered by availability.

    Needs numpy. Raises InvalidInput if there are fewer chunks than regimes.
    """
    import numpy as np

    chosen = settings or FitSettings()
    edges = tuple(each * 585.0 for each in EDGE_TICKS)
    length = max(2, round(chosen.chunk_seconds / tick_seconds))
    chunks = [each for trace in traces for each in _chunks(np, trace, tick_seconds, edges, length)]
    if len(chunks) < chosen.regimes:
        raise InvalidInput(f"{len(chunks)} chunks of traces are too few for {chosen.regimes} regimes: use fewer")
    counts = np.array(chunks)  # (chunk, ended or stayed, up or down, bucket)
    pooled = _pooled(np, counts)
    weights, hazards = _em(np, counts, pooled, chosen)
    rates = -np.log1p(-np.clip(hazards, 1e-6, 1 - 1e-6)) / (tick_seconds / 3600.0)
    order = np.argsort(rates[:, 1, :3].mean(axis=1))
    return HazardModel(
        edges_seconds=edges,
        regimes=tuple(
            Regime(
                weight=float(weights[each]),
                up_ends_per_hour=tuple(float(rate) for rate in rates[each, 1]),
                down_ends_per_hour=tuple(float(rate) for rate in rates[each, 0]),
            )
            for each in order
        ),
        source=source,
    )


def _chunks(np: Any, trace: Sequence[bool], tick_seconds: float, edges: tuple[float, ...], length: int) -> list[Any]:
    """Counts per chunk. The first period of a trace is left out since its age is not known."""
    out = []
    age: float | None = None
    count = np.zeros((2, 2, len(edges)))
    for place, (now, then) in enumerate(pairwise(trace)):
        if age is not None:
            bucket = int(np.searchsorted(edges, age, side="right")) - 1
            count[0 if bool(now) != bool(then) else 1, int(now), bucket] += 1
            age += tick_seconds
        if bool(now) != bool(then):
            age = 0.0
        if (place + 1) % length == 0:
            out.append(count)
            count = np.zeros((2, 2, len(edges)))
    if count.sum() * 2 >= length:
        out.append(count)
    return out


def _pooled(np: Any, counts: Any) -> Any:
    """Hazards of all chunks together; a sparse bucket borrows from the previous one."""
    total = counts.sum(axis=0)
    out = np.zeros(total.shape[1:])
    for side in range(2):
        before = 0.1
        for bucket in range(total.shape[2]):
            ended, stayed = total[0, side, bucket], total[1, side, bucket]
            before = out[side, bucket] = (ended + 10 * before) / (ended + stayed + 10)
    return out


def _em(np: Any, counts: Any, pooled: Any, settings: FitSettings) -> tuple[Any, Any]:
    """Weights and hazards per tick of the regimes."""
    ups = counts[:, :, 1].sum(axis=(1, 2)) / np.maximum(counts.sum(axis=(1, 2, 3)), 1)
    rank = np.argsort(np.argsort(ups, kind="stable"), kind="stable") * settings.regimes // len(ups)
    share = np.eye(settings.regimes)[rank] * 0.9 + 0.1 / settings.regimes
    weights, hazards = _maximise(np, counts, pooled, share, settings)
    for _ in range(_ROUNDS):
        log = np.log(weights)[None, :]
        log = log + np.einsum("csb,rsb->cr", counts[:, 0], np.log(hazards))
        log = log + np.einsum("csb,rsb->cr", counts[:, 1], np.log1p(-hazards))
        share = np.exp(log - log.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        weights, hazards = _maximise(np, counts, pooled, share, settings)
    return weights, hazards


def _maximise(np: Any, counts: Any, pooled: Any, share: Any, settings: FitSettings) -> tuple[Any, Any]:
    ended = np.einsum("cr,csb->rsb", share, counts[:, 0])
    stayed = np.einsum("cr,csb->rsb", share, counts[:, 1])
    prior = settings.prior_ticks
    hazards = (ended + prior * pooled) / (ended + stayed + prior)
    weights = (share.sum(axis=0) + 1) / (len(share) + settings.regimes)
    return weights, np.clip(hazards, 1e-6, 1 - 1e-6)
