"""The simulated EC2 instances: their lifetimes, and the notice file that every job on them can read."""

import contextlib
import json
import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from spotbatch.batch.placement import ComputeEnvironment, Pool
from spotbatch.local.engine.container import OnHost
from spotbatch.local.engine.journal import Journal
from spotbatch.local.host_view import FARGATE_PREFIX, HostView

_PUT: Final = "INSERT OR REPLACE INTO host VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COLUMNS: Final = (
    "instance_id, instance_type, zone, environment, is_spot, vcpus, memory_mib, "
    "launched_at, started_at, noticed_at, ended_at, end_cause"
)
MOST_REMEMBERED: Final = 10_000


class Hosts:
    """Living hosts by the scheduler's number; all hosts in the journal."""

    def __init__(self, journal: Journal, folder: Path, rng: random.Random) -> None:
        self._journal = journal
        self._folder = folder
        self._rng = rng
        self._open_to_jobs: set[str] = set()  # living hosts whose jobs reach the metadata service
        self.alive: dict[int, HostView] = {}
        self._away: dict[str, float] = {}  # hosts whose agent is disconnected, and until when on the steady clock

    def launch(self, host_no: int, environment: ComputeEnvironment, pool: Pool, now: float) -> HostView:
        """A new instance, booting."""
        host = HostView(
            instance_id=f"{FARGATE_PREFIX if environment.is_fargate else 'i-'}{self._rng.getrandbits(68):017x}",
            instance_type=pool.instance_type,
            zone=pool.zone,
            environment=environment.name,
            is_spot=environment.is_spot,
            vcpus=pool.vcpus,
            memory_mib=pool.memory_mib,
            launched_at=now,
            started_at=None,
            noticed_at=None,
            ended_at=None,
            end_cause=None,
            running=0,
        )
        with contextlib.suppress(OSError):  # as in `noticed`
            self.notice_file(host.instance_id).parent.mkdir(parents=True, exist_ok=True)
        return self._keep(host_no, host)

    def instance_id_of(self, host_no: int) -> str:
        """The id of a living host."""
        return self.alive[host_no].instance_id

    def started(self, host_no: int, now: float) -> HostView:
        return self._keep(host_no, replace(self.alive[host_no], started_at=now))

    def noticed(self, host_no: int, now: float, reclaim_at: float) -> HostView:
        """Write the interruption notice, in the instance metadata's format (EC2 user guide, spot/instance-action)."""
        host = replace(self.alive[host_no], noticed_at=now)
        self._keep(host_no, host)
        moment = datetime.fromtimestamp(reclaim_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        file = self.notice_file(host.instance_id)
        beside = file.with_suffix(".tmp")
        with contextlib.suppress(OSError):  # full disk: EC2's notice is best effort too, and the reclaim still comes
            beside.write_text(json.dumps({"action": "terminate", "time": moment}), encoding="utf-8")
            beside.replace(file)
        return host

    def agent_leaves(self, instance_id: str, until: float) -> None:
        """Its agent is disconnected until then, on the steady clock."""
        self._away[instance_id] = until

    def agent_away_seconds(self, instance_id: str, now: float) -> float:
        """For how long its agent is still disconnected; 0 if it is connected."""
        left = self._away.get(instance_id, now) - now
        if left <= 0:
            self._away.pop(instance_id, None)
        return max(0.0, left)

    def open_metadata(self, instance_id: str) -> None:
        """Give the host's jobs access to its metadata service."""
        self._open_to_jobs.add(instance_id)

    def on_host(self, host: HostView, metadata_url: str) -> OnHost:
        """What a host provides to its jobs."""
        is_open = bool(metadata_url) and host.instance_id in self._open_to_jobs
        return OnHost(
            host=host,
            notice=self.notice_file(host.instance_id),
            metadata=f"{metadata_url}{host.instance_id}" if is_open else "",
        )

    def ended(self, host_no: int, now: float, cause: str) -> HostView:
        host = replace(self.alive.pop(host_no), ended_at=now, end_cause=cause)
        self._open_to_jobs.discard(host.instance_id)
        self._away.pop(host.instance_id, None)
        self._journal.write(_PUT, _row(host))
        shutil.rmtree(self.notice_file(host.instance_id).parent, ignore_errors=True)
        return host

    def never_came(self, host_no: int) -> None:
        """Its pool had no capacity: there was no instance, and none is billed."""
        host = self.alive.pop(host_no)
        self._open_to_jobs.discard(host.instance_id)
        self._journal.write("DELETE FROM host WHERE instance_id = ?", (host.instance_id,))
        shutil.rmtree(self.notice_file(host.instance_id).parent, ignore_errors=True)

    def end_all(self, now: float) -> None:
        """The region stops, or was killed earlier: no host outlives it."""
        self._journal.write("UPDATE host SET ended_at = ?, end_cause = 'REGION_STOPPED' WHERE ended_at IS NULL", (now,))
        self.alive.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def notice_file(self, instance_id: str) -> Path:
        """Where the host's jobs find the notice, if there is one."""
        return self._folder / instance_id / "notice.json"

    def notice_folder(self, host: HostView) -> Path:
        """The folder of that file, which the host's jobs can read."""
        return self.notice_file(host.instance_id).parent

    def living(self, running: dict[int, int]) -> list[HostView]:
        """Living hosts with their numbers of attempts, in launch order: the journal is not read."""
        return [
            replace(host, running=running.get(host_no, 0), is_agent_connected=host.instance_id not in self._away)
            for host_no, host in self.alive.items()
        ]

    def all(self, running: dict[int, int]) -> list[HostView]:
        """Living hosts with their numbers of attempts, and dead ones, in launch order."""
        past = [
            HostView(**dict(zip(_COLUMNS.split(", "), row, strict=True)), running=0)
            for row in self._journal.rows(
                f"SELECT {_COLUMNS} FROM host WHERE ended_at IS NOT NULL ORDER BY launched_at DESC LIMIT ?",  # noqa: S608
                (MOST_REMEMBERED,),
            )
        ]
        return sorted(
            [*(replace(host, is_spot=bool(host.is_spot)) for host in past), *self.living(running)],
            key=lambda host: (host.launched_at, host.instance_id),
        )

    def _keep(self, host_no: int, host: HostView) -> HostView:
        self.alive[host_no] = host
        self._journal.write(_PUT, _row(host))
        return host


def _row(host: HostView) -> tuple[object, ...]:
    return tuple(getattr(host, name) for name in _COLUMNS.split(", "))
