"""Jobs that wait for each other, as a graph in layers: whom a page's jobs wait for, and who waits for them. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.dependency import DependencyType
from spotbatch.batch.job import Job
from spotbatch.web.progress import Progress

_MOST_JOBS: Final = 40
_WIDTH: Final = 160
_HEIGHT: Final = 44
_ACROSS: Final = 52  # between layers
_BELOW: Final = 14  # between the jobs of a layer
_LONGEST_NAME: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNode:
    """A job in the graph. Positions are in pixels."""

    id: str
    name: str
    whole_name: str
    progress: Progress
    x: int
    y: int
    is_own: bool  # one of the page's jobs


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphEdge:
    """The second waits for the first."""

    path: str  # SVG
    is_each: bool  # child by child (N_TO_N)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobGraph:
    """Jobs and who waits for whom, from left to right."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    width: int
    height: int
    left_out: int
    node_width: int = _WIDTH
    node_height: int = _HEIGHT

    @property
    def said(self) -> str:
        """The same in words, for those who cannot see it."""
        return ", ".join(f"{node.whole_name} ({node.progress.status})" for node in self.nodes)


def parents_of(job: Job) -> list[str]:
    """The ids of the jobs that a job waits for; of a child, its array's. SEQUENTIAL names none."""
    return list(dict.fromkeys(each.job_id.partition(":")[0] for each in job.depends_on if each.job_id))


def job_graph(own: Sequence[Job], known: Mapping[str, Job], progress: Callable[[Job], Progress]) -> JobGraph | None:
    """The graph around a page's jobs, of all known ones; None if none of them waits or is waited for."""
    jobs, left_out = _around(own, known)
    if not any(parents_of(job) for job in jobs.values()):
        return None
    layers = _layers(jobs)
    places: dict[str, tuple[int, int]] = {}
    for layer, ids in enumerate(layers):
        for row, job_id in enumerate(ids):
            places[job_id] = (layer * (_WIDTH + _ACROSS), row * (_HEIGHT + _BELOW))
    own_ids = {job.id for job in own}
    edges = [
        GraphEdge(path=_path(places[parent], places[job.id]), is_each=_is_each(job, parent))
        for job in jobs.values()
        for parent in parents_of(job)
        if parent in places
    ]
    return JobGraph(
        nodes=tuple(
            GraphNode(
                id=job_id,
                name=_short(jobs[job_id].name),
                whole_name=jobs[job_id].name,
                progress=progress(jobs[job_id]),
                x=x,
                y=y,
                is_own=job_id in own_ids,
            )
            for job_id, (x, y) in places.items()
        ),
        edges=tuple(edges),
        width=len(layers) * (_WIDTH + _ACROSS) - _ACROSS,
        height=max(len(ids) for ids in layers) * (_HEIGHT + _BELOW) - _BELOW,
        left_out=left_out,
    )


def _around(own: Iterable[Job], known: Mapping[str, Job]) -> tuple[dict[str, Job], int]:
    """The jobs connected with the page's, nearest first, and how many are left out."""
    waiting: dict[str, list[str]] = defaultdict(list)
    for job in known.values():
        for parent in parents_of(job):
            waiting[parent].append(job.id)
    found = {job.id: job for job in own if job.array_index is None}
    nearest = list(found)
    for job_id in nearest:  # grows meanwhile
        for other in (*parents_of(found[job_id]), *waiting[job_id]):
            if other in known and other not in found:
                found[other] = known[other]
                nearest.append(other)
    kept = nearest[:_MOST_JOBS]
    return {job_id: found[job_id] for job_id in kept}, len(nearest) - len(kept)


def _layers(jobs: Mapping[str, Job]) -> list[list[str]]:
    """Each job to the right of all that it waits for; within a layer, near the ones it waits for."""
    depth: dict[str, int] = {}
    pending = dict(jobs)
    while pending:
        ready = [each for each in pending if all(parent not in pending for parent in parents_of(jobs[each]))]
        for job_id in ready or list(pending):  # jobs cannot wait in a circle; whatever is listed, this ends
            depth[job_id] = 1 + max((depth.get(parent, -1) for parent in parents_of(jobs[job_id])), default=-1)
        pending = {job_id: job for job_id, job in pending.items() if job_id not in depth}
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    row: dict[str, int] = {}
    for layer, ids in enumerate(layers):
        own = [job_id for job_id in jobs if depth[job_id] == layer]
        own.sort(key=lambda job_id: (_mean([row[each] for each in parents_of(jobs[job_id]) if each in row]), job_id))
        ids.extend(own)
        row |= {job_id: at for at, job_id in enumerate(own)}
    return [ids for ids in layers if ids]


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _path(first: tuple[int, int], second: tuple[int, int]) -> str:
    """A curve from the right side of one box to the left side of another."""
    (x, y), (to_x, to_y) = (first[0] + _WIDTH, first[1] + _HEIGHT // 2), (second[0], second[1] + _HEIGHT // 2)
    middle = (x + to_x) // 2
    return f"M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}"


def _is_each(job: Job, parent: str) -> bool:
    return any(each.job_id == parent and each.type is DependencyType.N_TO_N for each in job.depends_on)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
