"""Docker's command line as the engine uses it: no library, so that an attempt's exit code is a child process's."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import Unavailable
from spotbatch.local.contract import ContainerSpec
from spotbatch.local.engine.leaked_processes import cookie_of

REGION_LABEL: Final = "spotbatch.region"
JOB_LABEL: Final = "spotbatch.job"
_ASK_SECONDS: Final = 30.0
_NEVER_STARTED: Final = "0001-01-01"
_SHARES_A_VCPU: Final = 1024  # as ECS sets them (Batch user guide, "vcpus"): shares of a busy host, not a ceiling
# Variables that Docker's own program reads; a job's variables with these names must not reach it.
_CLIENT_VARIABLES: Final = ("PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK")
_CLIENT_PREFIXES: Final = ("DOCKER_", "LD_", "GO")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A folder of this machine, mounted at the same path in the container."""

    folder: Path
    is_read_only: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HowItEnded:
    """What Docker knows about an ended container."""

    was_started: bool
    was_out_of_memory: bool
    error: str


class Docker:
    """One Docker engine, and its containers that belong to the region in a given folder."""

    def __init__(self, home: Path, program: str) -> None:
        self.region = cookie_of(home)
        self.program = program
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name in _CLIENT_VARIABLES or name.startswith(_CLIENT_PREFIXES)
        }
        self._known_images: set[str] = set()

    @classmethod
    def find(cls, home: Path) -> "Docker":
        """Raises Unavailable if there is no program or no engine answers."""
        program = shutil.which("docker")
        if program is None:
            raise Unavailable("there is no `docker` on PATH: install Docker, or use --runner process")
        found = cls(home, program)
        done = found._ask("version", "--format", "{{.Server.Version}}")
        if done.returncode:
            said = (done.stderr.strip() or "it gave no reason").splitlines()[-1]
            raise Unavailable(f"no Docker engine answers ({said}): start it, set DOCKER_HOST, or use --runner process")
        return found

    def name_of(self, task: str) -> str:
        """A container's name: the region's mark, then the task id, which its log stream contains too."""
        return f"spotbatch-{self.region[:8]}-{task}"

    def has_image(self, image: str) -> bool:
        """Whether the engine has an image with this name. Nothing is ever pulled."""
        if image not in self._known_images and self._ask("image", "inspect", "--format", "{{.Id}}", image).returncode:
            return False
        self._known_images.add(image)
        return True

    def how_it_ended(self, name: str) -> HowItEnded:
        """For a container that has not been removed yet."""
        done = self._ask(
            "inspect",
            "--type=container",
            "--format",
            "{{.State.OOMKilled}}|{{.State.StartedAt}}|{{.State.Error}}",
            name,
        )
        out_of_memory, _, rest = done.stdout.strip().partition("|")
        started, _, error = rest.partition("|")
        return HowItEnded(
            was_started=done.returncode == 0 and not started.startswith(_NEVER_STARTED),
            was_out_of_memory=out_of_memory == "true",
            error=error or ("" if done.returncode == 0 else done.stderr.strip()),
        )

    def remove(self, names: Sequence[str]) -> None:
        """SIGKILL and remove; missing containers are ignored."""
        if names:
            self._ask("rm", "--force", "--volumes", *names)

    def remove_all(self) -> bool:
        """Remove every container of the region, from any of its starts; returns whether none is left."""
        self.remove(self._containers().stdout.split())
        left = self._containers()
        return left.returncode == 0 and not left.stdout.split()

    def _containers(self) -> "subprocess.CompletedProcess[str]":
        return self._ask("ps", "--all", "--quiet", "--filter", f"label={REGION_LABEL}={self.region}")

    def _ask(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [self.program, *arguments]
        try:
            return subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=_ASK_SECONDS,
                env=self.environment,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(command, 125, "", str(error))


def run_command(
    docker: Docker,
    *,
    name: str,
    job_id: str,
    container: ContainerSpec,
    asked: Mapping[str, Any],
    variables: Mapping[str, str],
    mounts: Iterable[Mount],
) -> tuple[list[str], dict[str, str]]:
    """`docker run` for an attempt, and the environment of Docker's program.

    `asked` is the container of DescribeJobs' answer. The image's own entry point, user and folder apply unless the job
    definition says otherwise. Values of variables are passed through the environment, not the command line, which
    everybody on the machine can read.
    """
    inline = {key: value for key, value in variables.items() if _is_the_clients(key)}
    command = [
        docker.program, "run", "--pull=never", f"--name={name}", "--network=host", "--log-driver=none",
        f"--label={REGION_LABEL}={docker.region}", f"--label={JOB_LABEL}={job_id}",
        f"--memory={container.memory_mib}m", f"--memory-swap={container.memory_mib}m",
        f"--cpu-shares={int(container.vcpus * _SHARES_A_VCPU)}",
        *([f"--gpus={container.gpus}"] if container.gpus else []),
        *(f"--volume={each.folder}:{each.folder}{':ro' if each.is_read_only else ''}" for each in mounts),
        *_definition_options(asked),
        *(f"--env={key}={inline[key]}" if key in inline else f"--env={key}" for key in variables),
        container.image, *container.command,
    ]  # fmt: skip
    passed = {key: value for key, value in variables.items() if key not in inline}
    return command, {**passed, **docker.environment}


def _is_the_clients(name: str) -> bool:
    return name in _CLIENT_VARIABLES or name.startswith(_CLIENT_PREFIXES)


def _definition_options(asked: Mapping[str, Any]) -> list[str]:
    """The container options that a job definition may set (API reference, ContainerProperties), as Docker options."""
    linux = asked.get("linuxParameters") or {}
    sources = {each.get("name"): (each.get("host") or {}).get("sourcePath") for each in asked.get("volumes") or []}
    return [
        *([f"--user={asked['user']}"] if asked.get("user") else []),
        *(["--read-only"] if asked.get("readonlyRootFilesystem") else []),
        *(["--privileged"] if asked.get("privileged") else []),
        *(["--init"] if linux.get("initProcessEnabled") else []),
        *([f"--shm-size={linux['sharedMemorySize']}m"] if linux.get("sharedMemorySize") else []),
        *(f"--ulimit={each['name']}={each['softLimit']}:{each['hardLimit']}" for each in asked.get("ulimits") or []),
        *(
            f"--volume={sources[each['sourceVolume']]}:{each['containerPath']}{':ro' if each.get('readOnly') else ''}"
            for each in asked.get("mountPoints") or []
            if sources.get(each.get("sourceVolume"))
        ),
    ]
