"""What the runtime's records, the run's inputs and the doctor add to a job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import SpotbatchError, Unavailable
from spotbatch.batch.job import Job
from spotbatch.doctor.case import Finding
from spotbatch.doctor.examine import examine
from spotbatch.doctor.rules import diagnose
from spotbatch.runs import records
from spotbatch.runs.attempt_story import told_by
from spotbatch.runs.progress_report import OwnProgress
from spotbatch.web.unit_records import UnitRecords
from spotbatch.web.usage_chart import UsageChart, usage_chart


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """A job's own story. `told`: (label, text) by attempt, from 1."""

    told: Mapping[int, Sequence[tuple[str, str]]] = field(default_factory=dict)
    usage: Mapping[int, UsageChart] = field(default_factory=dict)  # by attempt, where there is something to draw
    input: str = ""
    progress: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What the doctor found, and what it could not read."""

    found: tuple[Finding, ...] = ()
    unseen: tuple[str, ...] = ()


def story_of(job: Job, kept: UnitRecords) -> Story:
    """The records of each attempt, the child's input, and its own progress report. Raises Unavailable."""
    try:
        matched = records.matched(job, kept.of_unit(job))
        told = {number: [label_and_text(line) for line in told_by(record)] for number, record in matched.items()}
        charts = {number: usage_chart(record, job.requirements) for number, record in matched.items()}
        own_input = kept.input_of(job)
    except Unavailable:
        raise
    except SpotbatchError:
        told, charts, own_input = {}, {}, ""  # it stored nothing readable
    usage = {number: chart for number, chart in charts.items() if chart is not None}
    return Story(told=told, usage=usage, input=own_input, progress=OwnProgress()(job))


def label_and_text(line: str) -> tuple[str, str]:
    """A line of an attempt's story, as "resumed    from checkpoint 3", in two."""
    label, _, rest = line.partition(" ")
    return label, rest.strip()


def findings_of(jobs: Jobs, job: Job) -> Findings:
    """The doctor's findings about a job."""
    case = examine(jobs, job)
    return Findings(found=tuple(diagnose(case)), unseen=tuple(case.around.unseen))
