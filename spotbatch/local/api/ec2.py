"""The little of EC2's API by which a job's host is asked about: DescribeInstances for the region's hosts."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from spotbatch.local.api import ec2_limits
from spotbatch.local.api.errors import ApiError, ec2_error
from spotbatch.local.api.http import Response
from spotbatch.local.api.region import Region
from spotbatch.local.contract import HostView

_NAMESPACE: Final = "http://ec2.amazonaws.com/doc/2016-11-15/"
_BY_ID: Final = re.compile(r"InstanceId\.[0-9]+")
_FILTER: Final = re.compile(r"Filter\.([0-9]+)\.Name")


def describe_instances(region: Region, body: bytes) -> Response | None:
    """The hosts among the instances that are asked for by id; None where none of ours is, so that moto answers."""
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        ec2_limits.check(form)
    except ApiError as error:
        return ec2_error(error)
    if form.get("Action") != "DescribeInstances":
        return None
    wanted = _wanted(form)
    hosts = [host for host in region.engine.hosts() if host.instance_id in wanted]
    if not hosts:
        return None
    reservations = "".join(f"<item>{_reservation(region, host)}</item>" for host in hosts)
    text = f"<reservationSet>{reservations}</reservationSet>"
    text = f'<DescribeInstancesResponse xmlns="{_NAMESPACE}">{text}</DescribeInstancesResponse>'
    return Response(headers=[("content-type", "text/xml")], body=text.encode())


def _wanted(form: Mapping[str, str]) -> set[str]:
    """The ids that are named, as such or by a filter on instance-id."""
    found = {value for name, value in form.items() if _BY_ID.fullmatch(name)}
    for name, value in form.items():
        match = _FILTER.fullmatch(name)
        if match is not None and value == "instance-id":
            prefix = f"Filter.{match[1]}.Value."
            found |= {one for key, one in form.items() if key.startswith(prefix)}
    return found


def _reservation(region: Region, host: HostView) -> str:
    code, state = (48, "terminated") if host.ended_at else (16, "running") if host.started_at else (0, "pending")
    launched = datetime.fromtimestamp(host.launched_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    members = {
        "instanceId": host.instance_id,
        "instanceType": host.instance_type,
        "launchTime": launched,
        **({"instanceLifecycle": "spot"} if host.is_spot else {}),
    }
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in members.items())
    inner += f"<instanceState><code>{code}</code><name>{state}</name></instanceState>"
    inner += f"<placement><availabilityZone>{escape(host.zone)}</availabilityZone></placement>"
    owner = f"<reservationId>r-{host.instance_id[2:]}</reservationId><ownerId>{region.names.account_id}</ownerId>"
    return f"{owner}<groupSet/><instancesSet><item>{inner}</item></instancesSet>"
