"""Who waits for whom: layers from left to right, around the page's own jobs, bounded, and hostile names stay text."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from spotbatch.batch.dependency import Dependency, DependencyType
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.job_graph import JobGraph, job_graph
from spotbatch.web.progress import progress_of
from spotbatch.web.target import Target
from tests.unit.web_builders import ARRAY, child, parent, shown


def job(number: int, *waits_for: int, kind: DependencyType = DependencyType.PLAIN) -> Job:
    after = tuple(Dependency(job_id=f"j{each}", type=kind) for each in waits_for)
    return Job(
        id=f"j{number}", name=f"job-{number}", queue="q", definition="d:1", status=JobStatus.PENDING, depends_on=after
    )


def graph(own: Job, *others: Job) -> JobGraph | None:
    known = {each.id: each for each in (own, *others)}
    return job_graph([own], known, lambda one: progress_of({one.status: 1}))


def test_who_is_waited_for_stands_left_of_who_waits_and_strangers_are_not_drawn() -> None:
    found = graph(job(2, 1), job(1), job(3, 2), job(4, 2, 1), job(9), job(8, 9))
    assert found is not None
    x = {node.id: node.x for node in found.nodes}
    assert x.keys() == {"j1", "j2", "j3", "j4"}
    assert x["j1"] < x["j2"] < x["j3"] == x["j4"]
    assert len(found.edges) == 4
    assert [node.id for node in found.nodes if node.is_own] == ["j2"]


def test_a_job_that_nobody_waits_for_and_that_waits_for_nobody_has_no_graph() -> None:
    assert graph(job(1), job(2), job(3, 2)) is None
    sequential = replace(job(1), depends_on=(Dependency(type=DependencyType.SEQUENTIAL),))
    assert graph(sequential) is None, "an array that waits for itself"


@given(st.lists(st.lists(st.integers(0, 60), max_size=4), min_size=1, max_size=60))
def test_whatever_waits_for_whatever_it_ends_boxes_do_not_overlap_and_there_are_not_too_many(
    waits: list[list[int]],
) -> None:
    jobs = [job(number, *each) for number, each in enumerate(waits)]
    found = graph(jobs[0], *jobs[1:])
    if found is not None:
        places = [(node.x, node.y) for node in found.nodes]
        assert len(set(places)) == len(places) <= 40
        assert all(0 <= x < found.width and 0 <= y < found.height for x, y in places)


def test_the_page_shows_it_with_links_and_child_by_child_dashed() -> None:
    evil = "</title></svg><script>alert(1)</script>"
    of = replace(parent(2, SUCCEEDED=2), name=evil, depends_on=(Dependency(job_id="j1", type=DependencyType.N_TO_N),))
    world = shown(of, [child(0, JobStatus.SUCCEEDED)])
    world.state.take([job(1)], 0.0)
    html = world.pages.regions(Target(kind="job", id=ARRAY))["graph"]
    assert '<a href="/jobs/j1">' in html
    assert 'class="edge each"' in html
    assert "Dashed: child by child" in html
    assert "<script" not in html
