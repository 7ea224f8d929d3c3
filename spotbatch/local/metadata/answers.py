"""The responses of one host's metadata service, path by path. Pure.

Categories and formats: EC2 user guide, "Instance metadata categories", "Instance identity documents", "Spot Instance
interruption notices" and "EC2 instance rebalance recommendations". Paths that EC2 has but a simulated host cannot
have (keys, placement groups, a VPC's network, the host role's credentials) get a 404, as on EC2 for anything that an
instance does not have.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

PLAIN: Final = "text/plain"
JSON: Final = "application/json"
_VERSIONS: Final = ("1.0", "2020-10-27", "2021-03-23", "2021-07-15", "2022-09-24", "latest")


@dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """What is known about a host. Times are UTC epoch seconds."""

    instance_id: str
    instance_type: str
    zone: str
    region: str
    account_id: str
    partition: str
    domain: str  # the partition's domain: amazonaws.com
    is_spot: bool
    architecture: str  # x86_64, arm64
    environment: str  # the compute environment: its hosts share one image
    launched_at: float
    address: str = "127.0.0.1"
    host_name: str = "localhost"
    reclaim_at: float | None = None  # set once there is an interruption notice
    rebalance_at: float | None = None  # when the rebalance recommendation came


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The body of a 200, or None for a 404."""

    content_type: str
    body: str


_Tree = Mapping[str, "str | Answer | _Tree"]


def answer(host: HostFacts, path: str) -> Answer | None:
    """The response to a GET of a path such as `/latest/meta-data/instance-id`; None if it does not exist (404)."""
    version, _, rest = path.strip("/").partition("/")
    if version == "":
        return Answer(content_type=PLAIN, body="\n".join(_VERSIONS))
    if version not in _VERSIONS:
        return None
    node: str | Answer | _Tree = _tree(host)
    for part in rest.split("/") if rest else ():
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    if isinstance(node, Mapping):
        return Answer(content_type=PLAIN, body="\n".join(_listed(node)))
    return node if isinstance(node, Answer) else Answer(content_type=PLAIN, body=node)


def _listed(node: _Tree) -> list[str]:
    """The members of a category, folders with a trailing slash, as EC2 lists them."""
    return [f"{name}/" if isinstance(node[name], Mapping) else name for name in sorted(node)]


def _tree(host: HostFacts) -> _Tree:
    return {"meta-data": _meta_data(host), "dynamic": {"instance-identity": {"document": _identity(host)}}}


def _meta_data(host: HostFacts) -> _Tree:
    return {
        "ami-id": image_id(host),
        "ami-launch-index": "0",
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": {"ami": "/dev/xvda", "root": "/dev/xvda"},
        "events": _events(host),
        "hostname": host.host_name,
        "instance-action": "none",
        "instance-id": host.instance_id,
        "instance-life-cycle": "spot" if host.is_spot else "on-demand",
        "instance-type": host.instance_type,
        "local-hostname": host.host_name,
        "local-ipv4": host.address,
        "mac": _mac(host),
        "placement": {"availability-zone": host.zone, "region": host.region},
        "profile": "default-hvm",
        "reservation-id": f"r-{host.instance_id[2:]}",
        "services": {"domain": host.domain, "partition": host.partition},
        "system": "nitro",
        **_spot(host),
    }


def _spot(host: HostFacts) -> _Tree:
    """The notice. Without one EC2 answers 404 for the category itself."""
    if host.reclaim_at is None:
        return {}
    notice = json.dumps({"action": "terminate", "time": moment(host.reclaim_at)})
    return {
        "spot": {
            "instance-action": Answer(content_type=JSON, body=notice),
            "termination-time": moment(host.reclaim_at),
        }
    }


def _events(host: HostFacts) -> _Tree:
    events: dict[str, str | Answer | _Tree] = {
        "maintenance": {
            "history": Answer(content_type=JSON, body="[]"),
            "scheduled": Answer(content_type=JSON, body="[]"),
        }
    }
    if host.rebalance_at is not None:
        body = json.dumps({"noticeTime": moment(host.rebalance_at)})
        events["recommendations"] = {"rebalance": Answer(content_type=JSON, body=body)}
    return events


def _identity(host: HostFacts) -> Answer:
    document = {
        "accountId": host.account_id,
        "architecture": host.architecture,
        "availabilityZone": host.zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "imageId": image_id(host),
        "instanceId": host.instance_id,
        "instanceType": host.instance_type,
        "kernelId": None,
        "marketplaceProductCodes": None,
        "pendingTime": moment(host.launched_at),
        "privateIp": host.address,
        "ramdiskId": None,
        "region": host.region,
        "version": "2017-09-30",
    }
    return Answer(content_type=JSON, body=json.dumps(document, indent=2))


def image_id(host: HostFacts) -> str:
    """An AMI id for the hosts of one environment: made up, since a simulated host has no image."""
    return "ami-0" + hashlib.sha256(f"{host.environment}\0{host.architecture}".encode()).hexdigest()[:16]


def _mac(host: HostFacts) -> str:
    """A locally administered address (IEEE 802), unique to the instance."""
    digits = hashlib.sha256(host.instance_id.encode()).hexdigest()
    return ":".join(("0e", *(digits[at : at + 2] for at in range(0, 10, 2))))


def moment(at: float) -> str:
    """A time in the metadata service's format: 2026-11-30T02:28:43Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
