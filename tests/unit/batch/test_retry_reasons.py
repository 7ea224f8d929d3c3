"""Every way in which ECS says that an attempt ended, and whether the stack's strategy tries again, and why.

The names are those of the ECS agent (aws/amazon-ecs-agent: agent/dockerclient/dockerapi/errors.go,
agent/engine/errors.go, agent/api/errors/errors.go); AWS Batch hands them on in the container's reason, which onReason
matches. The task's stopped reason is the job's status reason, which onStatusReason matches (API reference,
EvaluateOnExit).
"""

import pytest

from spotbatch.batch import environment
from spotbatch.batch.retry import MAX_EVALUATE_ON_EXIT, Action, AttemptExit, spot_safe
from spotbatch.batch.status import CONTAINER_EXITED, NOT_STARTED, OUT_OF_MEMORY_REASON, host_terminated

REGISTRY = "RETRY: a registry that throttles or fails answers later"
HOST = "RETRY: another host, or the same one later, may do it"
LIKELY_PERMANENT = "RETRY: mostly permanent, but no entry is left to tell it from what may pass; it costs seconds"
SPOT = "RETRY: the host went, not the job"
OURS = "RETRY: the runtime asks for it"
OWN = "EXIT: the user's own program ended so, and would again"

NOT_STARTED_FOR = {  # error names of the agent, on a task that failed to start
    "CannotPullContainerError": REGISTRY,
    "CannotPullECRContainerError": REGISTRY,
    "CannotPullImageManifestError": REGISTRY,
    "CannotPullContainerAuthError": REGISTRY,
    "DockerTimeoutError": HOST,
    "DockerStateError": HOST,
    "CannotGetDockerclientError": HOST,
    "CannotInspectContainerError": HOST,
    "CannotDescribeContainerError": HOST,
    "CannotListContainersError": HOST,
    "CannotListImagesError": HOST,
    "CannotListPluginsError": HOST,
    "CannotRemoveContainerError": HOST,
    "CannotStopContainerError": HOST,
    "CannotInspectVolumeError": HOST,
    "CannotRemoveVolumeError": HOST,
    "CannotGetContainerTopError": HOST,
    "NoSuchContainerError": HOST,
    "ContainerVanishedError": HOST,
    "ImpossibleStateTransitionError": HOST,
    "TaskStoppedBeforePullBeginError": HOST,
    "ENIInformationError": HOST,
    "NetworkNamespaceError": HOST,
    "ResourceInitializationError": HOST,
    "UnknownError": HOST,
    "AGENT": HOST,
    "CannotCreateContainerError": LIKELY_PERMANENT,  # a wrong parameter, or a disk that is full
    "CannotStartContainerError": LIKELY_PERMANENT,  # no such program in the image, or a device that is busy
    "CannotCreateVolumeError": LIKELY_PERMANENT,
    "InvalidVolumeError": LIKELY_PERMANENT,
    "HostConfigError": LIKELY_PERMANENT,
    "DockerClientConfigError": LIKELY_PERMANENT,
}


@pytest.mark.parametrize(("name", "why"), NOT_STARTED_FOR.items())
def test_a_task_that_never_ran_is_tried_again_whatever_the_agent_calls_it(name: str, why: str) -> None:
    ended = AttemptExit(reason=f"{name}: Could not transition to created", status_reason=NOT_STARTED)
    assert spot_safe().decide(ended, 1).value == why.partition(":")[0]


RAN_EXIT = [(code, CONTAINER_EXITED, OWN) for code in (1, 2, 125, 126, 127, 134, 137, 139, 143, 220, 255)]
RAN_AGAIN = [(code, CONTAINER_EXITED, OURS) for code in (210, 211, 212)]


@pytest.mark.parametrize(
    ("exit_code", "status_reason", "why"),
    [
        *RAN_EXIT,
        *RAN_AGAIN,
        (21, CONTAINER_EXITED, "RETRY: a pattern is a prefix, so a program's own 21 is tried again too"),
        (None, host_terminated("i-0123456789abcdef0"), SPOT),
        (143, host_terminated("i-0123456789abcdef0"), SPOT),
        (None, "Task stopped during instance draining", SPOT),
        (None, "", "EXIT: nothing says that it may pass"),
        (None, "ResourceInitializationError: unable to pull secrets", "EXIT: so on Fargate; no entry is left for it"),
    ],
)
def test_what_ran_is_tried_again_for_its_host_and_for_the_runtime_only(
    exit_code: int | None, status_reason: str, why: str
) -> None:
    ended = AttemptExit(exit_code=exit_code, status_reason=status_reason)
    assert spot_safe().decide(ended, 1).value == why.partition(":")[0]


def test_memory_that_ran_out_is_not_tried_again() -> None:
    ended = AttemptExit(exit_code=137, reason=OUT_OF_MEMORY_REASON, status_reason=CONTAINER_EXITED)
    assert spot_safe().decide(ended, 1) is Action.EXIT


def test_a_pull_error_is_tried_again_whatever_the_task_says() -> None:
    assert spot_safe().decide(AttemptExit(reason="CannotPullECRContainerError: 503"), 1) is Action.RETRY


def test_the_runtimes_codes_that_are_no_request_to_run_again_do_not_match_the_entry_of_those_that_are() -> None:
    codes = {name: getattr(environment, name) for name in dir(environment) if name.startswith("EXIT_")}
    stem = environment.RETRIED_EXIT_CODES.rstrip("*")
    again = {name for name, code in codes.items() if str(code).startswith(stem)}
    assert again == {"EXIT_INTERRUPTED", "EXIT_UNHEALTHY", "EXIT_NOT_SAVED", "EXIT_INTERNAL"}
    for name, code in codes.items():
        wanted = Action.RETRY if name in again else Action.EXIT
        assert spot_safe().decide(AttemptExit(exit_code=code), 1) is wanted


def test_the_strategy_needs_no_more_entries_than_aws_takes_and_ends_in_one_that_exits() -> None:
    entries = spot_safe().evaluate_on_exit
    assert len(entries) <= MAX_EVALUATE_ON_EXIT
    assert (entries[-1].action, entries[-1].on_reason) == (Action.EXIT, "*")
