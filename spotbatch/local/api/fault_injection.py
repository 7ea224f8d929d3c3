"""AWS Fault Injection Service, limited to Spot hosts: experiments that interrupt them (moto keeps the templates).

Action `aws:ec2:send-spot-instance-interruptions` (FIS user guide, "FIS actions reference"): each target gets a
rebalance recommendation at once, and the notice two minutes before `durationBeforeInterruption` (PT2M to PT15M) ends.
Targets: FIS user guide, "Targets for AWS FIS"; at most five Spot Instances per experiment ("Quotas and limitations").
"""

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from spotbatch.batch.errors import SpotbatchError
from spotbatch.local.api.ec2 import tags_of
from spotbatch.local.api.http import Head, Response
from spotbatch.local.api.metadata import MetadataService
from spotbatch.local.api.region import Region
from spotbatch.local.host_view import HostView

ACTION: Final = "aws:ec2:send-spot-instance-interruptions"
_SPOT: Final = "aws:ec2:spot-instance"
_MOST_TARGETS: Final = 5
_NOTICE_SECONDS: Final = 120
_MINUTES: Final = re.compile(r"PT([0-9]{1,2})M")
_SELECTION: Final = re.compile(r"ALL|(COUNT|PERCENT)\(([0-9]{1,6})\)")
_EXPERIMENT: Final = re.compile(r"/experiments(?:/(?P<id>[^/]+))?")


class ExperimentRefused(Exception):
    """Why an experiment fails, worded for its state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interruption:
    """What one action of an experiment does."""

    instance_ids: tuple[str, ...]
    wait_seconds: float  # from the recommendation to the notice


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A host from the perspective of a target."""

    host: HostView
    arn: str
    tags: Mapping[str, str]


def interruptions(
    experiment: Mapping[str, Any], candidates: Sequence[Candidate], rng: random.Random
) -> list[Interruption]:
    """What an experiment's actions do to these hosts. Raises ExperimentRefused."""
    found = []
    for action in experiment.get("actions", {}).values():
        if action.get("actionId") != ACTION:
            continue
        duration = action.get("parameters", {}).get("durationBeforeInterruption", "")
        minutes = _MINUTES.fullmatch(duration)
        if minutes is None or not 2 <= int(minutes[1]) <= 15:
            raise ExperimentRefused(f"durationBeforeInterruption must be from PT2M to PT15M, not {duration!r}")
        name = action.get("targets", {}).get("SpotInstances", "")
        chosen = _chosen(name, experiment.get("targets", {}).get(name), candidates, rng)
        found.append(Interruption(instance_ids=chosen, wait_seconds=int(minutes[1]) * 60 - _NOTICE_SECONDS))
    if sum(len(one.instance_ids) for one in found) > _MOST_TARGETS:
        raise ExperimentRefused(f"an experiment interrupts at most {_MOST_TARGETS} Spot Instances")
    return found


def _chosen(name: str, target: Any, candidates: Sequence[Candidate], rng: random.Random) -> tuple[str, ...]:
    if not isinstance(target, Mapping) or target.get("resourceType") != _SPOT:
        raise ExperimentRefused(f"the action's target SpotInstances ({name!r}) must be of resourceType {_SPOT}")
    fitting = [one for one in candidates if _is_meant(one, target)]
    if not fitting:
        raise ExperimentRefused(f"Target resolution returned empty set: {name}")
    selection = _SELECTION.fullmatch(target.get("selectionMode", ""))
    if selection is None:
        raise ExperimentRefused(f"selectionMode is ALL, COUNT(n) or PERCENT(n), not {target.get('selectionMode')!r}")
    count = len(fitting)
    if selection[1] == "COUNT":
        count = min(count, int(selection[2]))
    elif selection[1] == "PERCENT":
        count = count * min(100, int(selection[2])) // 100
    return tuple(sorted(one.host.instance_id for one in rng.sample(fitting, count)))


def _is_meant(candidate: Candidate, target: Mapping[str, Any]) -> bool:
    arns = target.get("resourceArns") or []
    if arns and candidate.arn not in arns:
        return False
    if any(candidate.tags.get(key) != value for key, value in (target.get("resourceTags") or {}).items()):
        return False
    host = candidate.host
    attributes = {  # paths in DescribeInstances' response
        "State.Name": "running" if host.started_at else "pending",
        "Placement.AvailabilityZone": host.zone,
        "InstanceType": host.instance_type,
        "InstanceId": host.instance_id,
        "InstanceLifecycle": "spot",
    }
    return all(attributes.get(one["path"]) in one["values"] for one in target.get("filters") or [])


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiments:
    """Carries out what moto accepts, and reports failures in an experiment's state."""

    region: Region
    metadata: MetadataService
    seed: int
    failures: dict[str, str] = field(default_factory=dict)  # reasons by experiment id

    async def answer(self, head: Head, moto: Callable[[], Awaitable[Response]]) -> Response:
        """One request for FIS."""
        response = await moto()
        match = _EXPERIMENT.fullmatch(head.raw_path)
        if match is None or response.status != 200 or (match["id"] is None and head.method != "POST"):
            return response
        body = json.loads(response.body)
        experiment = body.get("experiment")
        if not isinstance(experiment, dict):
            return response
        if match["id"] is None:
            await self._begin(experiment)
        reason = self.failures.get(str(experiment.get("id")))
        if reason is None:
            return response
        experiment["state"] = {"status": "failed", "reason": reason}
        return replace(response, headers=_without_length(response), body=json.dumps(body).encode())

    async def _begin(self, experiment: Mapping[str, Any]) -> None:
        experiment_id = str(experiment["id"])
        rng = random.Random(f"{self.seed}{experiment_id}")  # noqa: S311 - which hosts are hit is no secret
        try:
            for one in interruptions(experiment, self._candidates(), rng):
                self.metadata.recommend_rebalance(list(one.instance_ids), 0)
                if one.wait_seconds == 0:
                    await self.region.engine.interrupt(instance_ids=one.instance_ids)
                else:
                    self.region.keep(asyncio.create_task(self._later(experiment_id, one)))
        except (ExperimentRefused, SpotbatchError) as error:
            self.failures[experiment_id] = str(error)

    async def _later(self, experiment_id: str, one: Interruption) -> None:
        await asyncio.sleep(one.wait_seconds)
        try:
            await self.region.engine.interrupt(instance_ids=one.instance_ids)
        except SpotbatchError as error:  # the host is gone by now
            self.failures[experiment_id] = str(error)

    def _candidates(self) -> list[Candidate]:
        """The running Spot hosts that have no notice yet."""
        names = self.region.names
        return [
            Candidate(
                host=host,
                arn=f"arn:aws:ec2:{names.region}:{names.account_id}:instance/{host.instance_id}",
                tags=tags_of(self.region, host),
            )
            for host in self.region.engine.living_hosts()
            if host.is_spot and not host.is_fargate and host.noticed_at is None
        ]


def _without_length(response: Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers if name.lower() != "content-length"]
