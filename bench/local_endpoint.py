"""DescribeJobs of 100 ids, 200 a second: idle, while jobs start at full speed, and while S3 uploads run too.

Each latency counts from the time the request was due, so that a stall delays all later requests.
Targets: p99 under 15 ms and under 2.5 times idle while jobs start, under 40 ms with uploads; SubmitJob of an array of
10,000 at most 1.5 times that of one job. The figures are meaningful only on an otherwise idle machine.
"""

import argparse
import json
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from spotbatch.local.region_file import RegionInfo
from spotbatch.local.start import start, stop
from spotbatch.testing.region import Region

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench"
IDS = 100
UPLOAD_BYTES = 8 << 20
STOP_SECONDS = 30.0
RESOURCES = {
    "type": "SPOT",
    "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
    "maxvCpus": 4,
    "instanceTypes": ["c5.xlarge"],
    "subnets": ["subnet-1"],
    "securityGroupIds": ["sg-1"],
    "instanceRole": "arn:aws:iam::123456789012:instance-profile/batch",
}
CONTAINER = {
    "image": "busybox",
    "command": ["true"],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
}


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Sorted, in milliseconds."""

    milliseconds: list[float]

    def quantile(self, share: float) -> float:
        return self.milliseconds[min(len(self.milliseconds) - 1, int(len(self.milliseconds) * share))]

    def line(self, name: str, idle: "Latencies | None" = None) -> str:
        ratio = f"  {self.quantile(0.99) / idle.quantile(0.99):5.2f} x idle" if idle else ""
        p50, p99, worst = self.quantile(0.5), self.quantile(0.99), self.milliseconds[-1]
        count = len(self.milliseconds)
        return f"{name:34} {count:6} requests  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  max {worst:7.2f} ms{ratio}"


def port_of(info: RegionInfo) -> int:
    return int(info.endpoint.rpartition(":")[2])


@contextmanager
def running(home: Path, template: Path | None) -> Iterator[RegionInfo]:
    more = ["--template", str(template)] if template else []
    info = start(home, ["--boot-seconds", "0.05", "--vcpu-quota", "none", *more])
    try:
        yield info
    finally:
        stop(info, STOP_SECONDS)


def signed(info: RegionInfo, operation: str, parameters: object) -> bytes:
    """One signed request as bytes, sent repeatedly, since a client library would be the bottleneck."""
    body = json.dumps(parameters).encode()
    request = AWSRequest(method="POST", url=f"{info.endpoint}/v1/{operation}", data=body)
    SigV4Auth(Credentials(info.access_key, info.secret_key), "batch", info.region).add_auth(request)
    lines = [f"Host: 127.0.0.1:{port_of(info)}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return (f"POST /v1/{operation} HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode() + body


class Connection:
    """A persistent connection that sends prebuilt requests."""

    def __init__(self, info: RegionInfo) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port_of(info)), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")

    def exchange(self, request: bytes) -> bytes:
        """Send a request; returns the response body. Anything but success ends the benchmark."""
        self._socket.sendall(request)
        length, status = 0, self._reader.readline()
        assert b" 200 " in status, status
        while (line := self._reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return self._reader.read(length)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def measure(info: RegionInfo, request: bytes, *, rate: float, goes_on: Callable[[float], bool]) -> Latencies:
    """Send at a fixed rate, on one connection, as long as `goes_on(seconds since the start)`."""
    found: list[float] = []
    with closing(Connection(info)) as connection:
        started = time.perf_counter()
        while goes_on(time.perf_counter() - started):
            due = started + len(found) / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.exchange(request)
            found.append((time.perf_counter() - due) * 1000)
    return Latencies(milliseconds=sorted(found))


def cpu_milliseconds(info: RegionInfo) -> float:
    """The processor time that the region has used so far (proc(5), stat: fields 14 and 15)."""
    fields = Path(f"/proc/{info.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def cost(info: RegionInfo, request: bytes, count: int) -> float:
    """The region's processor time for one such request, in milliseconds."""
    with closing(Connection(info)) as connection:
        before = cpu_milliseconds(info)
        for _ in range(count):
            connection.exchange(request)
        return (cpu_milliseconds(info) - before) / count


def show_costs(info: RegionInfo, describe: bytes) -> None:
    """What one request costs the region; an array of 10,000 compared with one job."""
    print(f"DescribeJobs of {IDS} waiting jobs     {cost(info, describe, 1000):.2f} ms of processor time")
    asked = {"jobName": "cost", "jobQueue": "off", "jobDefinition": "d"}
    one = signed(info, "submitjob", asked)
    many = signed(info, "submitjob", {**asked, "arrayProperties": {"size": 10_000}})
    costs = [(cost(info, one, 100), cost(info, many, 100)) for _ in range(3)]
    single, array = (sorted(column)[1] for column in zip(*costs, strict=True))
    print(
        f"SubmitJob                          {single:.2f} ms, an array of 10,000 {array:.2f} ms: {array / single:.2f} x"
    )


def prepare(batch: Any) -> list[str]:
    """A queue that runs `true` four at a time, and 100 jobs that wait forever: their responses change, so cost most."""
    for name, state in (("on", "ENABLED"), ("off", "DISABLED")):
        batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", state=state, computeResources=RESOURCES
        )
        order = [{"order": 1, "computeEnvironment": name}]
        batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order)
    batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=CONTAINER)
    return [batch.submit_job(jobName="wait", jobQueue="off", jobDefinition="d")["jobId"] for _ in range(IDS)]


def run_array(info: RegionInfo, size: int) -> "Future[float]":
    """Submit an array of no-ops; the future resolves to the jobs per second once it has ended.

    Uses prebuilt requests: a client library's work in this process would delay the measured ones.
    """
    asked = {"jobName": "array", "jobQueue": "on", "jobDefinition": "d", "arrayProperties": {"size": size}}

    def watch() -> float:
        with closing(Connection(info)) as connection:
            started = time.perf_counter()
            job_id = json.loads(connection.exchange(signed(info, "submitjob", asked)))["jobId"]
            request = signed(info, "describejobs", {"jobs": [job_id]})
            while json.loads(connection.exchange(request))["jobs"][0]["status"] != "SUCCEEDED":
                time.sleep(0.1)
            return size / (time.perf_counter() - started)

    return ThreadPoolExecutor(max_workers=1).submit(watch)


@contextmanager
def uploads(info: RegionInfo) -> Iterator[list[int]]:
    """Put objects of 8 MiB continuously, on a thread."""
    s3 = Region(info=info).client("s3")
    done: list[int] = []
    stop = threading.Event()

    def put() -> None:
        content = b"\0" * UPLOAD_BYTES
        while not stop.is_set():
            s3.put_object(Bucket="bench", Key="object", Body=content)
            done.append(1)

    thread = threading.Thread(target=put)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round's measurements: idle, while jobs start, and with uploads as well."""

    idle: Latencies
    busy: Latencies
    both: Latencies
    jobs_a_second: tuple[float, float]  # while jobs start, and with uploads
    uploads: int


def one_round(info: RegionInfo, request: bytes, chosen: argparse.Namespace) -> Round:
    idle = measure(info, request, rate=chosen.rate, goes_on=lambda elapsed: elapsed < chosen.seconds)
    jobs = run_array(info, chosen.jobs)
    busy = measure(info, request, rate=chosen.rate, goes_on=lambda _elapsed: not jobs.done())
    with uploads(info) as done:
        beside = run_array(info, chosen.jobs)
        both = measure(info, request, rate=chosen.rate, goes_on=lambda _elapsed: not beside.done())
    return Round(idle=idle, busy=busy, both=both, jobs_a_second=(jobs.result(), beside.result()), uploads=len(done))


def together(parts: Iterable[Latencies]) -> Latencies:
    return Latencies(milliseconds=sorted(each for part in parts for each in part.milliseconds))


def show(rounds: list[Round]) -> None:
    """All rounds together, since one per cent of a few hundred requests is a handful; and how rounds differ."""
    idle = together(each.idle for each in rounds)
    starting, uploading = (
        statistics.mean(column) for column in zip(*(each.jobs_a_second for each in rounds), strict=True)
    )
    print(idle.line("idle"))
    print(together(each.busy for each in rounds).line(f"while jobs start ({starting:.0f}/s)", idle))
    sent = sum(each.uploads for each in rounds)
    print(together(each.both for each in rounds).line(f"and {sent} uploads of 8 MiB ({uploading:.0f}/s)", idle))
    ratios = sorted(each.busy.quantile(0.99) / each.idle.quantile(0.99) for each in rounds)
    print(
        f"p99 while jobs start, each round in times of its own idle p99: {', '.join(f'{each:.2f}' for each in ratios)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second (default: 200)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of an idle measurement (default: 4)")
    parser.add_argument("--jobs", type=int, default=2000, help="no-op jobs started meanwhile (default: 2000)")
    parser.add_argument("--rounds", type=int, default=4, help="of all three, one after the other (default: 4)")
    parser.add_argument("--folder", type=Path, default=CACHE, help="where the region lives (see bench/local_jobs.py)")
    parser.add_argument("--template", type=Path, help="load this too: its rules take the events of all queues' jobs")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    home = tempfile.TemporaryDirectory(dir=chosen.folder)
    with home as folder, running(Path(folder) / "home", chosen.template) as info:
        batch = Region(info=info).client("batch")
        Region(info=info).client("s3").create_bucket(Bucket="bench")
        request = signed(info, "describejobs", {"jobs": prepare(batch)})
        rounds = [one_round(info, request, chosen) for _ in range(chosen.rounds)]
        show(rounds)
        show_costs(info, request)


if __name__ == "__main__":
    main()
