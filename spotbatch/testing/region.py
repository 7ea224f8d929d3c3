"""A dedicated region for tests: start, query, reclaim, stop."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.aws.artifacts import open_artifacts
from spotbatch.batch import artifacts as layout
from spotbatch.batch.environment import SPOTBATCH_ARTIFACTS_URL
from spotbatch.batch.errors import InvalidInput
from spotbatch.local.client import RegionClient
from spotbatch.local.host_view import HostView
from spotbatch.local.region_file import RegionInfo
from spotbatch.rehearsal.private_region import DEFINITION, QUEUE
from spotbatch.runs.endpoint import LOCAL_VARIABLE

_POLL_SECONDS: Final = 0.1
_ENDED: Final = ("SUCCEEDED", "FAILED")


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """AWS Batch on this machine, with a queue and a job definition. Jobs run as processes, in the current folder."""

    info: RegionInfo
    queue: str = QUEUE
    definition: str = DEFINITION

    @property
    def endpoint_url(self) -> str:
        """Where it listens, on the loopback address."""
        return self.info.endpoint

    def client(self, service: str) -> Any:
        """A boto3 client for a service of the region: batch, s3, logs, ecs, ec2, cloudformation, sts, ..."""
        place = session.connection_to(
            self.info.endpoint,
            region=self.info.region,
            access_key=self.info.access_key,
            secret_key=self.info.secret_key,
        )
        return place.session.client(service, endpoint_url=place.endpoint_url)

    def environment(self) -> Mapping[str, str]:
        """The variables that let any program find it: the AWS CLI, boto3, spotbatch."""
        return {**self.info.environment(), "SPOTBATCH_HOME": self.info.home, LOCAL_VARIABLE: "1"}

    def hosts(self) -> list[HostView]:
        """Its hosts, including past ones."""
        return RegionClient(info=self.info).hosts()

    def reclaim(
        self,
        *,
        count: int = 1,
        instance_ids: Sequence[str] = (),
        notice_seconds: float | None = None,
        timeout: float = 60.0,
    ) -> list[str]:
        """Take hosts back as EC2 does: the notice, then the end. Returns the hosts' ids immediately.

        Waits until this many hosts run a job. Raises TimeoutError if that does not happen in time.
        """
        deadline = time.monotonic() + timeout
        while not instance_ids and sum(bool(host.running) for host in self.hosts()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} hosts did not run a job within {timeout:g} s, so none was reclaimed")
            time.sleep(_POLL_SECONDS)
        asked = 0 if instance_ids else count
        return RegionClient(info=self.info).interrupt(
            count=asked, instance_ids=instance_ids, notice_seconds=notice_seconds
        )

    def wait(self, job_id: str, *, timeout: float = 60.0) -> Any:
        """DescribeJobs' entry for a job once it has ended. Raises TimeoutError, or InvalidInput for no such job."""
        batch, deadline = self.client("batch"), time.monotonic() + timeout
        while True:
            found = batch.describe_jobs(jobs=[job_id])["jobs"]
            if not found:
                raise InvalidInput(f"there is no job {job_id!r} in this region")
            if found[0]["status"] in _ENDED:
                return found[0]
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} is {found[0]['status']} after {timeout:g} s: {self.log_of(found[0])}")
            time.sleep(_POLL_SECONDS)

    def log_of(self, job: Mapping[str, Any]) -> str:
        """What a job returned by `wait` wrote in its last attempt."""
        stream = job.get("container", {}).get("logStreamName")
        if not stream:
            return ""
        events = self.client("logs").get_log_events(
            logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True
        )["events"]
        return "\n".join(each["message"] for each in events)

    def output(self, job_id: str, path: str) -> bytes:
        """A file that a job, or a child (id:index), left in $SPOTBATCH_OUTPUT_DIR, once it has SUCCEEDED."""
        run, _, index = job_id.partition(":")
        defined = self.client("batch").describe_job_definitions(jobDefinitionName=self.definition, status="ACTIVE")
        variables = defined["jobDefinitions"][-1]["containerProperties"]["environment"]
        [url] = [each["value"] for each in variables if each["name"] == SPOTBATCH_ARTIFACTS_URL]
        return open_artifacts(url).read(f"{layout.output_prefix(run, int(index) if index else None)}/{path}")

    def load(self, name: str, template: Mapping[str, Any] | Path) -> Mapping[str, str]:
        """Create or update a stack from a CloudFormation template; returns its outputs."""
        body = template if isinstance(template, Mapping) else _read(template)
        found: Mapping[str, str] = RegionClient(info=self.info).load_stack(name, body)["outputs"]
        return found


def _read(path: Path) -> dict[str, Any]:
    from spotbatch.local.template_file import read_template

    return read_template(path)
