"""Create, update, describe, list and delete scheduling policies: fair share (API reference, FairsharePolicy)."""

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from spotbatch.local.api import queues, tags
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import check_name
from spotbatch.local.api.pages import answer_page, check_count
from spotbatch.local.api.region import POLICY, QUEUE, Document, Region

_MAX_DECAY_SECONDS: Final = 604_800
_MAX_RESERVATION: Final = 99
_WEIGHTS: Final = (0.0001, 999.9999)
_MAX_PAGE: Final = 100
_SHARE: Final = re.compile(r"[A-Za-z0-9]{1,255}\*?")


async def create(region: Region, asked: Document) -> Document:
    """CreateSchedulingPolicy. Raises ClientException where AWS would refuse it."""
    name = check_name("name", asked["name"])
    if region.find(POLICY, name) is not None:
        raise ClientException(f"Object already exists: scheduling policy {name}")
    _check_kind(asked)
    document = {
        "name": name,
        "arn": region.names.arn(POLICY, name),
        "fairsharePolicy": _checked(asked.get("fairsharePolicy", {})),
        "tags": tags.checked(asked.get("tags", {})),
    }
    await region.engine.put_resource(POLICY, name, document)
    return {"name": name, "arn": document["arn"]}


def _check_kind(asked: Document) -> None:
    if "quotaSharePolicy" in asked:
        raise ClientException("quotaSharePolicy: the local region knows fair share policies only")


def _checked(policy: Document) -> Document:
    if not 0 <= policy.get("shareDecaySeconds", 0) <= _MAX_DECAY_SECONDS:
        raise ClientException(f"shareDecaySeconds must be 0 to {_MAX_DECAY_SECONDS}, not {policy['shareDecaySeconds']}")
    if not 0 <= policy.get("computeReservation", 0) <= _MAX_RESERVATION:
        raise ClientException(f"computeReservation must be 0 to {_MAX_RESERVATION}, not {policy['computeReservation']}")
    shares = policy.get("shareDistribution", [])
    for share in shares:
        if not _SHARE.fullmatch(share["shareIdentifier"]):
            given = share["shareIdentifier"][:260]
            raise ClientException(f"shareIdentifier has up to 255 letters and digits and a trailing *, not {given!r}")
        if not _WEIGHTS[0] <= share.get("weightFactor", 1.0) <= _WEIGHTS[1]:
            raise ClientException(f"weightFactor must be {_WEIGHTS[0]} to {_WEIGHTS[1]}, not {share['weightFactor']}")
    _check_overlap([share["shareIdentifier"] for share in shares])
    return policy


def _check_overlap(identifiers: Sequence[str]) -> None:
    prefixes = [one[:-1] for one in identifiers if one.endswith("*")]
    for place, one in enumerate(identifiers):
        others = [*identifiers[:place], *identifiers[place + 1 :]]
        if one in others or any(one != f"{prefix}*" and one.startswith(prefix) for prefix in prefixes):
            raise ClientException(f"share identifiers must not overlap: {one!r}")


async def update(region: Region, asked: Document) -> Document:
    """UpdateSchedulingPolicy; the queues that use it are updated at once."""
    _check_kind(asked)
    document = region.get(POLICY, asked["arn"])
    if "fairsharePolicy" in asked:
        document["fairsharePolicy"] = _checked(asked["fairsharePolicy"])
    await put(region, document)
    return {}


async def put(region: Region, document: Document) -> None:
    """Store a policy's document, and update its queues."""
    await region.engine.put_resource(POLICY, document["name"], document)
    for queue in _queues_of(region, document["arn"]):
        await queues.put(region, queue)


def _queues_of(region: Region, arn: str) -> list[Document]:
    return [queue for queue in region.documents(QUEUE).values() if queue.get("schedulingPolicyArn") == arn]


async def describe(region: Region, asked: Document) -> Document:
    """DescribeSchedulingPolicies. Unknown ARNs are left out."""
    check_count("arns", asked["arns"], _MAX_PAGE)
    found = (region.find(POLICY, arn) for arn in asked["arns"])
    return {"schedulingPolicies": [document for document in found if document is not None]}


async def list_policies(region: Region, asked: Document) -> Document:
    """ListSchedulingPolicies."""
    arns = [{"arn": document["arn"]} for document in region.documents(POLICY).values()]
    return answer_page(arns, itemgetter("arn"), asked, "schedulingPolicies", _MAX_PAGE)


async def delete(region: Region, asked: Document) -> Document:
    """DeleteSchedulingPolicy: refused while a queue uses it."""
    document = region.get(POLICY, asked["arn"])
    if users := _queues_of(region, document["arn"]):
        names = [queue["jobQueueName"] for queue in users]
        raise ClientException(f"Cannot delete, the scheduling policy is used by job queues {names}")
    await region.engine.delete_resource(POLICY, document["name"])
    return {}
