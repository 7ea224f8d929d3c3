"""From the options on a command line or in a job file to the `JobRequest` that is sent."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import PurePath
from typing import Final

from spotbatch.batch.dependency import Dependency, DependencyType
from spotbatch.batch.environment import SPOTBATCH_SNAPSHOT
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import JobRequest
from spotbatch.batch.retry import MAX_ATTEMPTS, RetryStrategy, spot_safe

_DEFAULT_NAME: Final = "job"
_WORD: Final = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*")
_MAX_NAME: Final = 128
_INTERPRETERS: Final = frozenset({"python", "sh", "bash", "zsh", "node", "ruby", "perl", "Rscript", "julia", "php"})


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOptions:
    """The user's options. None: as in the job definition."""

    command: tuple[str, ...] = ()
    name: str | None = None
    array: int | None = None
    vcpus: int | None = None
    memory_mib: int | None = None
    gpus: int | None = None
    retries: int | None = None
    timeout_seconds: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: str | None = None  # one child per input
    code: str | None = None  # a folder sent with the job, in which the command runs
    is_snapshot: bool = False  # dump the command at the notice and go on from there
    after: tuple[str, ...] = ()  # jobs, as the user refers to them; later their ids
    after_each: tuple[str, ...] = ()  # arrays: child i waits for child i
    is_sequential: bool = False
    share: str | None = None
    priority: int | None = None
    queue: str | None = None
    definition: str | None = None
    stack: str | None = None
    deadline_seconds: int | None = None  # with all below, the controller's; see control.py
    work_seconds: int | None = None
    changeover_seconds: int | None = None
    on_demand_queue: str | None = None
    on_demand_after: int | None = None  # these three belong to the controller; see control.py
    grow_memory: tuple[float, int | None] | None = None  # the factor, and the maximum MiB
    max_usd: Decimal | None = None

    @property
    def is_for_controller(self) -> bool:
        """Whether anything was requested that is the controller's business; see control.py."""
        limits = (self.deadline_seconds, self.on_demand_after, self.grow_memory, self.max_usd)
        with_them = (self.work_seconds, self.changeover_seconds, self.on_demand_queue)
        return any(one is not None for one in (*limits, *with_them))

    def with_defaults(self, other: "JobOptions") -> "JobOptions":
        """Merge with `other`: values given here win, and tables are joined."""
        joined = {
            each.name: {**getattr(other, each.name), **getattr(self, each.name)}
            for each in fields(self)
            if isinstance(getattr(self, each.name), Mapping)
        }
        said = {
            each.name: value
            for each in fields(self)
            if (value := getattr(self, each.name)) is not None and value is not False and value != ()  # 0 counts
        }
        return replace(other, **{**said, **joined})


def request(asked: JobOptions, *, queue: str, definition: str) -> JobRequest:
    """The request for SubmitJob. Raises InvalidJob or InvalidInput if AWS Batch would refuse it."""
    _check_sizes(asked)
    return JobRequest(
        name=asked.name or name_for(asked.command),
        queue=queue,
        definition=definition,
        command=asked.command or None,
        environment={**asked.env, **({SPOTBATCH_SNAPSHOT: "on-notice"} if asked.is_snapshot else {})},
        parameters=asked.parameters,
        vcpus=asked.vcpus,
        memory_mib=asked.memory_mib,
        gpus=asked.gpus,
        array_size=asked.array,
        dependencies=_dependencies(asked),
        retry=_retry(asked.retries),
        timeout_seconds=asked.timeout_seconds,
        share_identifier=asked.share,
        scheduling_priority=asked.priority,
        tags=asked.tags,
    )


def _check_sizes(asked: JobOptions) -> None:
    for name, given, least in (("vcpus", asked.vcpus, 1), ("memory", asked.memory_mib, 4), ("gpus", asked.gpus, 0)):
        if given is not None and given < least:
            raise InvalidInput(f"--{name} is at least {least}{' MiB' if name == 'memory' else ''}, not {given}")


def name_for(command: Sequence[str]) -> str:
    """A job name derived from a command: the script or module run by an interpreter, else the program and a word.

    `python3 count.py` is named count, so that `spotbatch logs count` can be guessed.
    """
    if len(command) > 1 and PurePath(command[0]).name.rstrip("0123456789.") in _INTERPRETERS:
        ran = command[2:3] if command[1] == "-m" else command[1:2]
        if ran and _WORD.fullmatch(ran[0]) and not ran[0].startswith("-"):
            named = ran[0] if command[1] == "-m" else PurePath(ran[0]).name.partition(".")[0] or PurePath(ran[0]).name
            return _as_name([named])
    return _as_name([PurePath(word).name for word in command[:3] if _WORD.fullmatch(word)])


def _as_name(words: Sequence[str]) -> str:
    """Words reduced to the characters that AWS Batch allows in a name."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(words)).strip("-_")
    return name[:_MAX_NAME] or _DEFAULT_NAME


def _retry(retries: int | None) -> RetryStrategy | None:
    """A job's retry strategy replaces its definition's entirely, so the rules for lost hosts are sent too."""
    if retries is None:
        return None
    if not 0 <= retries < MAX_ATTEMPTS:
        raise InvalidInput(
            f"--retries is 0 to {MAX_ATTEMPTS - 1} (AWS Batch tries at most {MAX_ATTEMPTS} times), not {retries}"
        )
    return spot_safe(attempts=retries + 1)


def check_is_for_arrays(asked: JobOptions) -> None:
    """Raises InvalidInput if a job that is not an array has options that only arrays can have."""
    if asked.is_sequential:
        raise InvalidInput("--sequential is for arrays: give --array too")
    if asked.after_each:
        raise InvalidInput("--after-each is for arrays of the same size: give --array too")


def _dependencies(asked: JobOptions) -> tuple[Dependency, ...]:
    if asked.array is None:
        check_is_for_arrays(asked)
    plain = tuple(Dependency(job_id=each) for each in asked.after)
    each_to_each = tuple(Dependency(job_id=each, type=DependencyType.N_TO_N) for each in asked.after_each)
    sequential = (Dependency(type=DependencyType.SEQUENTIAL),) if asked.is_sequential else ()
    return plain + each_to_each + sequential
