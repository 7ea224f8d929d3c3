"""Jobs in real containers: their variables, limits, stops, reclaims, and what a killed region leaves behind.

Without a Docker engine these tests skip.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotbatch.local.engine.docker import REGION_LABEL
from spotbatch.local.engine.leaked_processes import cookie_of
from tests.contract.docker_world import docker, make_image, why_no_engine
from tests.contract.local.test_engine_processes import FAST, ended, job, lines, prepare, submit
from tests.contract.local_api_region import CONTAINER, RunningRegion, running, until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    reason = why_no_engine()
    if reason is not None:
        pytest.skip(reason)
    name = f"spotbatch-test-shell-{os.getpid()}"
    make_image(name, "ENV MADE_FOR=tests", "ENV PATH=/bin", "WORKDIR /work")
    yield name
    subprocess.run(["docker", "rmi", "--force", name], capture_output=True, timeout=60, check=False)


def define(region: RunningRegion, image: str, **container: Any) -> Any:
    """A region's queue with a definition `d` whose image this is."""
    batch = prepare(region)
    batch.register_job_definition(
        jobDefinitionName="d",
        type="container",
        containerProperties={**CONTAINER, "image": image, **container},
        retryStrategy={"attempts": 3},
    )
    return batch


@pytest.fixture(scope="module")
def region(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("containers") / "home", *FAST, "--runner", "docker") as one:
        define(one, image)
        yield one


@pytest.fixture
def batch(region: RunningRegion) -> Any:
    return region.client("batch")


def containers_of(home: Path) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"label={REGION_LABEL}={cookie_of(home)}").split()


def test_a_job_runs_in_its_image_with_awss_variables_and_the_images_own(region: RunningRegion, batch: Any) -> None:
    odd = {"environment": [{"name": "ODD", "value": "two\nlines, 'quotes' and $HOME"}, {"name": "LD_X", "value": "1"}]}
    done = ended(batch, submit(batch, 'env; echo "<$ODD>"', containerOverrides=odd), "SUCCEEDED")
    said = lines(region, done)
    environment = dict(line.split("=", 1) for line in said if "=" in line)
    assert (environment["MADE_FOR"], environment["PATH"], environment["PWD"]) == ("tests", "/bin", "/work")
    assert (environment["AWS_BATCH_JOB_ID"], environment["AWS_BATCH_JOB_ATTEMPT"]) == (done["jobId"], "1")
    assert environment["AWS_ENDPOINT_URL"] == region.info.endpoint
    assert environment["LD_X"] == "1"
    assert said[-2:] == ["<two", "lines, 'quotes' and $HOME>"]
    until(lambda: not containers_of(Path(region.info.home)))


def test_an_images_entry_point_stays(image: str, tmp_path: Path) -> None:
    name = f"{image}-entry"
    make_image(name, 'ENTRYPOINT ["/bin/echo", "before"]')
    try:
        with running(tmp_path / "home", *FAST, "--runner", "docker") as region:
            batch = define(region, name, command=["and", "after"])
            answer = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="d")
            assert lines(region, ended(batch, answer["jobId"], "SUCCEEDED")) == ["before and after"]
    finally:
        docker("rmi", "--force", name)


def test_exit_codes_and_signals_are_the_containers_own(batch: Any) -> None:
    assert ended(batch, submit(batch, "exit 3"), "FAILED")["container"]["exitCode"] == 3
    assert ended(batch, submit(batch, "exit 125"), "FAILED")["container"]["exitCode"] == 125
    assert ended(batch, submit(batch, "sh -c 'kill -9 $$'; exit $?"), "FAILED")["container"]["exitCode"] == 137


def test_a_command_that_the_image_does_not_have_cannot_start(batch: Any) -> None:
    answer = batch.submit_job(
        jobName="j", jobQueue="q", jobDefinition="d", containerOverrides={"command": ["no-such-program"]}
    )
    done = ended(batch, answer["jobId"], "FAILED")
    assert done["container"]["reason"].startswith("CannotStartContainerError: ")
    assert "no-such-program" in done["container"]["reason"]
    assert "exitCode" not in done["container"]


def test_an_image_that_is_not_here_is_not_pulled(batch: Any) -> None:
    batch.register_job_definition(
        jobDefinitionName="other", type="container", containerProperties={**CONTAINER, "image": "no.example/none:1"}
    )
    answer = batch.submit_job(jobName="j", jobQueue="q", jobDefinition="other")
    reason = ended(batch, answer["jobId"], "FAILED")["container"]["reason"]
    assert reason.startswith("CannotPullContainerError: ")
    assert "docker pull no.example/none:1" in reason


def test_the_memory_limit_is_the_containers_and_its_breach_has_awss_reason(batch: Any) -> None:
    answer = batch.submit_job(
        jobName="j",
        jobQueue="q",
        jobDefinition="d",
        retryStrategy={"attempts": 1},
        containerOverrides={
            "command": ["sh", "-c", "x=x; while :; do x=$x$x; done"],
            "resourceRequirements": [{"type": "MEMORY", "value": "64"}],
        },
    )
    done = ended(batch, answer["jobId"], "FAILED")
    assert done["container"]["exitCode"] == 137
    assert done["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_artifacts_are_one_folder_for_all_and_the_hosts_notice_may_only_be_read(
    region: RunningRegion, batch: Any
) -> None:
    script = 'folder="${SPOTBATCH_ARTIFACTS_URL#file://}"; echo made > "$folder/from-container"; '
    script += 'touch "${SPOTBATCH_NOTICE_FILE%/*}/mine" || echo refused'
    done = ended(batch, submit(batch, script), "SUCCEEDED")
    assert (Path(region.info.artifacts) / "from-container").read_text() == "made\n"
    assert "refused" in lines(region, done)


def test_terminate_is_sigterm_then_sigkill_after_the_grace(region: RunningRegion, batch: Any) -> None:
    willing = submit(batch, "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    stubborn = submit(batch, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    for each in (willing, stubborn):
        until(lambda each=each: says(region, batch, each, "ready"))  # type: ignore[misc]
        batch.terminate_job(jobId=each, reason="enough")
    done = ended(batch, willing, "FAILED")
    assert (done["statusReason"], done["container"]["exitCode"]) == ("enough", 9)
    assert "told" in lines(region, done)
    assert ended(batch, stubborn, "FAILED")["container"]["exitCode"] == 137
    until(lambda: not containers_of(Path(region.info.home)))


def says(region: RunningRegion, batch: Any, job_id: str, word: str) -> bool:
    described = job(batch, job_id)
    return described["status"] == "RUNNING" and word in lines(region, described)


def test_a_reclaimed_host_takes_its_containers_with_it_and_the_job_is_retried(
    region: RunningRegion, batch: Any
) -> None:
    script = (
        '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] && exit 0; trap "" TERM; echo ready; '
        'until [ -e "$SPOTBATCH_NOTICE_FILE" ]; do sleep 0.02; done; cat "$SPOTBATCH_NOTICE_FILE"; '
        "while :; do sleep 0.05; done"
    )
    waiting = submit(batch, script)
    until(lambda: says(region, batch, waiting, "ready"))
    region.admin.interrupt(count=10)
    done = ended(batch, waiting, "SUCCEEDED")
    first = done["attempts"][0]
    assert first["statusReason"].startswith("Host EC2 (instance i-")
    events = region.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=first["container"]["logStreamName"], startFromHead=True
    )["events"]
    assert '"action": "terminate"' in events[-1]["message"]
    until(lambda: not containers_of(Path(region.info.home)))


def test_containers_of_a_killed_region_are_removed_when_it_starts_again(image: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *FAST, "--runner", "docker") as first:
        batch = define(first, image)
        job_id = submit(batch, '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] && exit 0; trap "" TERM; while :; do sleep 0.05; done')
        until(lambda: containers_of(home))
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    assert containers_of(home)
    with running(home, *FAST, "--runner", "docker") as second:
        ended(second.client("batch"), job_id, "SUCCEEDED")
        until(lambda: not containers_of(home))


def test_auto_runs_a_container_where_the_image_is_there_and_a_process_where_it_is_not(
    image: str, tmp_path: Path
) -> None:
    with running(tmp_path / "home", *FAST, "--runner", "auto") as region:
        batch = define(region, image)
        in_container = submit(batch, 'echo "${MADE_FOR-none}"')
        batch.register_job_definition(
            jobDefinitionName="plain", type="container", containerProperties={**CONTAINER, "image": "not-there"}
        )
        answer = batch.submit_job(
            jobName="j", jobQueue="q", jobDefinition="plain",
            containerOverrides={"command": ["sh", "-c", 'echo "${MADE_FOR-none}"']},
        )  # fmt: skip
        assert lines(region, ended(batch, in_container, "SUCCEEDED")) == ["tests"]
        assert lines(region, ended(batch, answer["jobId"], "SUCCEEDED")) == ["none"]


def test_what_the_definition_says_of_the_container_holds(image: str, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "input").write_text("given\n")
    with running(tmp_path / "home", *FAST, "--runner", "docker") as region:
        batch = define(
            region, image, user="1234", readonlyRootFilesystem=True,
            volumes=[{"name": "data", "host": {"sourcePath": str(shared)}}],
            mountPoints=[{"sourceVolume": "data", "containerPath": "/data", "readOnly": True}],
            ulimits=[{"name": "nofile", "softLimit": 77, "hardLimit": 88}],
        )  # fmt: skip
        script = "exec 2>/dev/null; id -u; cat /data/input; ulimit -n; "
        script += "touch /work/x || echo root; touch /data/x || echo data"
        said = lines(region, ended(batch, submit(batch, script), "SUCCEEDED"))
        assert said == ["1234", "given", "77", "root", "data"]
