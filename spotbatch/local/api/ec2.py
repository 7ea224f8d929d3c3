"""The part of EC2's API for looking up a job's host: DescribeInstances, alongside moto's own instances."""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from spotbatch.local.api import ec2_limits, launch_templates
from spotbatch.local.api.errors import ApiError, ec2_error
from spotbatch.local.api.http import Response
from spotbatch.local.api.region import ENVIRONMENT, Region
from spotbatch.local.host_view import HostView

_NAMESPACE: Final = "http://ec2.amazonaws.com/doc/2016-11-15/"
_BY_ID: Final = re.compile(r"InstanceId\.[0-9]+")
_FILTER: Final = re.compile(r"Filter\.([0-9]+)\.Name")
_MOST: Final = 1000
_STATES: Final = {"pending": 0, "running": 16, "terminated": 48}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A DescribeInstances request. No ids: all that match the filters."""

    ids: frozenset[str]
    filters: tuple[tuple[str, frozenset[str]], ...]
    after: str  # the last instance of the previous page
    count: int


async def answer(region: Region, body: bytes, moto: Callable[[], Awaitable[Response]]) -> Response | None:
    """The response with our hosts, followed by moto's instances; None if moto alone is to answer."""
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        ec2_limits.check(form)
        if form.get("Action") != "DescribeInstances":
            return None
        asked = _asked(form)
    except ApiError as error:
        return ec2_error(error)
    if asked is None:
        return None
    hosts = sorted((host for host in region.engine.hosts() if _is_wanted(region, host, asked)), key=_key)
    if asked.ids and not hosts:
        return None
    if unknown := sorted(asked.ids - {host.instance_id for host in hosts}):
        are = "IDs '{}' do" if len(unknown) > 1 else "ID '{}' does"
        message = f"The instance {are.format(', '.join(unknown))} not exist"
        return ec2_error(ApiError("InvalidInstanceID.NotFound", message))
    rest = [host for host in hosts if host.instance_id > asked.after]
    page, has_more = rest[: asked.count], len(rest) > asked.count
    try:
        others = "" if asked.ids or has_more else _reservations_in(await moto())
    except Exception:  # noqa: BLE001  (moto does not know every filter; it says so itself where none of ours is meant)
        if not hosts:
            return None
        others = ""
    return _response(region, page, others, page[-1].instance_id if has_more else "")


def _key(host: HostView) -> str:
    return host.instance_id


def _asked(form: Mapping[str, str]) -> _Asked | None:
    """The parsed request; None for one of moto's own tokens."""
    ids = frozenset(value for name, value in form.items() if _BY_ID.fullmatch(name))
    filters = []
    for name, value in form.items():
        match = _FILTER.fullmatch(name)
        if match is not None:
            prefix = f"Filter.{match[1]}.Value."
            filters.append((value, frozenset(one for key, one in form.items() if key.startswith(prefix))))
    after = ""
    if form.get("NextToken"):
        try:
            after = base64.b64decode(form["NextToken"], validate=True).decode()
        except (binascii.Error, ValueError):
            return None
        if not after.startswith("i-"):
            return None
    return _Asked(ids=ids, filters=tuple(filters), after=after, count=int(form.get("MaxResults", _MOST)))


def _is_wanted(region: Region, host: HostView, asked: _Asked) -> bool:
    if host.is_fargate or (asked.ids and host.instance_id not in asked.ids):
        return False
    return all(_passes(region, host, name, values) for name, values in asked.filters)


def _passes(region: Region, host: HostView, name: str, values: frozenset[str]) -> bool:
    """Whether a host matches a filter, whose values may contain * and ?. An unknown filter matches nothing."""
    state = _state(host)
    own: dict[str, list[str]] = {
        "instance-id": [host.instance_id],
        "instance-type": [host.instance_type],
        "instance-state-name": [state],
        "instance-state-code": [str(_STATES[state])],
        "availability-zone": [host.zone],
        "instance-lifecycle": ["spot"] if host.is_spot else [],
        "owner-id": [region.names.account_id],
    }
    tags = tags_of(region, host)
    if name.startswith("tag:"):
        found = [tags[name[4:]]] if name[4:] in tags else []
    elif name == "tag-key":
        found = list(tags)
    else:
        found = own.get(name, [])
    return any(fnmatchcase(one, value.replace("[", "[[]")) for one in found for value in values)


def _state(host: HostView) -> str:
    return "terminated" if host.ended_at else "running" if host.started_at else "pending"


def tags_of(region: Region, host: HostView) -> dict[str, str]:
    """Those of the launch template and of the environment's computeResources, plus AWS Batch's own."""
    resources = region.engine.resources(ENVIRONMENT).get(host.environment, {}).get("computeResources")
    if not isinstance(resources, Mapping):
        return {"AWSBatchServiceTag": "batch"}
    of_template = launch_templates.instance_tags(region, resources.get("launchTemplate", {}))
    return {**of_template, **resources.get("tags", {}), "AWSBatchServiceTag": "batch"}


def _response(region: Region, hosts: list[HostView], others: str, last: str) -> Response:
    ours = "".join(f"<item>{_reservation(region, host)}</item>" for host in hosts)
    token = f"<nextToken>{base64.b64encode(last.encode()).decode()}</nextToken>" if last else ""
    inner = f"<reservationSet>{ours}{others}</reservationSet>{token}"
    text = f'<DescribeInstancesResponse xmlns="{_NAMESPACE}">{inner}</DescribeInstancesResponse>'
    return Response(headers=[("content-type", "text/xml")], body=text.encode())


def _reservations_in(response: Response) -> str:
    """The reservations in moto's response, verbatim."""
    text = response.body.decode("utf-8", "replace")
    begin, end = text.find("<reservationSet>"), text.rfind("</reservationSet>")
    return text[begin + len("<reservationSet>") : end] if response.status == 200 and 0 <= begin < end else ""


def _reservation(region: Region, host: HostView) -> str:
    state = _state(host)
    launched = datetime.fromtimestamp(host.launched_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    members = {
        "instanceId": host.instance_id,
        "instanceType": host.instance_type,
        "launchTime": launched,
        "privateDnsName": "" if host.ended_at else "localhost",
        "dnsName": "" if host.ended_at else "localhost",
        **({} if host.ended_at else {"privateIpAddress": "127.0.0.1", "ipAddress": "127.0.0.1"}),
        **({"instanceLifecycle": "spot"} if host.is_spot else {}),
    }
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in members.items())
    inner += f"<instanceState><code>{_STATES[state]}</code><name>{state}</name></instanceState>"
    inner += f"<placement><availabilityZone>{escape(host.zone)}</availabilityZone></placement>"
    pairs = tags_of(region, host).items()
    tags = "".join(f"<item><key>{escape(key)}</key><value>{escape(str(one))}</value></item>" for key, one in pairs)
    inner += f"<tagSet>{tags}</tagSet>"
    owner = f"<reservationId>r-{host.instance_id[2:]}</reservationId><ownerId>{region.names.account_id}</ownerId>"
    return f"{owner}<groupSet/><instancesSet><item>{inner}</item></instancesSet>"
