"""Consumable resources and the jobs that need them (API reference; user guide, "Resource-aware scheduling").

What AWS does not publish is in docs/verified.md: how an override is merged, what becomes of a deleted resource's jobs.
"""

import json
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

from spotbatch.batch.consumable import MOST_CONSUMABLES_OF_A_JOB, ConsumableNeed, ConsumableResource
from spotbatch.local.api import tags
from spotbatch.local.api.describe_jobs import times
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import check_name
from spotbatch.local.api.pages import answer_page, page
from spotbatch.local.api.region import CONSUMABLE, Document, Region

_MAX_RESOURCES: Final = 50_000  # an account's quota (user guide, "Create consumable resources")
_MAX_PAGE: Final = 100
_TYPES: Final = ("REPLENISHABLE", "NON_REPLENISHABLE")
_OPERATIONS: Final = ("SET", "ADD", "REMOVE")
_TOKEN_SECONDS: Final = 8 * 3600.0  # API reference, UpdateConsumableResource.clientToken
_TOKENS: Final = "clientTokens"  # of updates, with what they asked and when; not shown


async def create(region: Region, asked: Document) -> Document:
    """CreateConsumableResource. Raises ClientException where AWS would refuse it."""
    name = check_name("consumableResourceName", asked["consumableResourceName"])
    if region.find(CONSUMABLE, name) is not None:
        raise ClientException(f"Object already exists: consumable resource {name}")
    if len(region.engine.resources(CONSUMABLE)) >= _MAX_RESOURCES:
        raise ClientException(f"an account has at most {_MAX_RESOURCES} consumable resources in a region")
    kind = asked.get("resourceType", _TYPES[0])
    if kind not in _TYPES:
        raise ClientException(f"resourceType can only be one of {list(_TYPES)}, not {kind[:50]!r}")
    document: Document = {
        "consumableResourceName": name,
        "consumableResourceArn": region.names.arn(CONSUMABLE, name),
        "totalQuantity": _not_negative("totalQuantity", asked.get("totalQuantity", 0)),
        "resourceType": kind,
        "createdAt": round(region.clock() * 1000),
        "tags": tags.checked(asked.get("tags", {})),
    }
    await put(region, document)
    return _named(document)


def _named(document: Document) -> Document:
    return {member: document[member] for member in ("consumableResourceName", "consumableResourceArn")}


def _not_negative(member: str, quantity: int) -> int:
    if quantity < 0:
        raise ClientException(f"{member} must be 0 or more, not {quantity}")
    return quantity


async def put(region: Region, document: Document) -> None:
    """Store a resource's document, and pass its total to the scheduler."""
    rules = ConsumableResource(
        name=document["consumableResourceName"],
        total=document["totalQuantity"],
        is_replenishable=document["resourceType"] == _TYPES[0],
    )
    await region.engine.put_resource(CONSUMABLE, rules.name, document, rules=rules)


async def update(region: Region, asked: Document) -> Document:
    """UpdateConsumableResource: once for all requests with the same token and content."""
    document = region.get(CONSUMABLE, asked["consumableResource"])
    operation, quantity = asked.get("operation", ""), _not_negative("quantity", asked.get("quantity", 0))
    if operation not in _OPERATIONS:
        raise ClientException(f"operation can only be one of {list(_OPERATIONS)}, not {operation[:50]!r}")
    if not _is_repeated(region, document, asked):
        total = document["totalQuantity"]
        change = {"SET": quantity - total, "ADD": quantity, "REMOVE": -quantity}[operation]
        document["totalQuantity"] = _not_negative("totalQuantity", total + change)
        await put(region, document)
    return {**_named(document), "totalQuantity": document["totalQuantity"]}


def _is_repeated(region: Region, document: Document, asked: Document) -> bool:
    """Whether this request was carried out before; remembers it if not."""
    token = asked.get("clientToken")
    if not token:
        return False
    now, content = region.clock(), json.dumps(asked, sort_keys=True)
    kept = {key: entry for key, entry in document.get(_TOKENS, {}).items() if entry[1] > now - _TOKEN_SECONDS}
    if token in kept:
        if kept[token][0] != content:
            raise ClientException(f"clientToken {token[:70]!r} was used for another request")
        return True
    document[_TOKENS] = {**kept, token: [content, now]}
    return False


async def describe(region: Region, asked: Document) -> Document:
    """DescribeConsumableResource."""
    document = region.get(CONSUMABLE, asked["consumableResource"])
    document.pop(_TOKENS, None)
    in_use = region.engine.consumable_in_use(document["consumableResourceName"])
    available = max(0, document["totalQuantity"] - in_use)
    return {**document, "inUseQuantity": in_use, "availableQuantity": available}


async def list_resources(region: Region, asked: Document) -> Document:
    """ListConsumableResources, by name if a filter says so."""
    documents = list(region.documents(CONSUMABLE).values())
    for entry in asked.get("filters", []):
        if entry.get("name") != "CONSUMABLE_RESOURCE_NAME":
            raise ClientException(f"filter {str(entry.get('name'))[:50]!r} is unknown")
        values = entry.get("values", [])
        documents = [one for one in documents if _matches(one["consumableResourceName"], values)]
    found = [
        {
            **{member: one[member] for member in (*_named(one), "totalQuantity", "resourceType")},
            "inUseQuantity": region.engine.consumable_in_use(one["consumableResourceName"]),
        }
        for one in documents
    ]
    return answer_page(found, itemgetter("consumableResourceName"), asked, "consumableResources", _MAX_PAGE)


def _matches(name: str, values: Sequence[str]) -> bool:
    """Whether a name matches one of a filter's values: case-insensitive, with a trailing * for any end."""
    return any(
        name.lower().startswith(value[:-1].lower()) if value.endswith("*") else name.lower() == value.lower()
        for value in values
    )


async def delete(region: Region, asked: Document) -> Document:
    """DeleteConsumableResource. Jobs that need it then wait for as long as it does not exist."""
    document = region.get(CONSUMABLE, asked["consumableResource"])
    await region.engine.delete_resource(CONSUMABLE, document["consumableResourceName"])
    return {}


async def list_jobs(region: Region, asked: Document) -> Document:
    """ListJobsByConsumableResource, newest first."""
    name = region.get(CONSUMABLE, asked["consumableResource"])["consumableResourceName"]
    wanted = _job_filters(asked.get("filters", []))
    found = [one for one in _jobs_of(region, name) if all(_passes(one, *each) for each in wanted)]
    ids = [one["jobArn"] for one in found]
    part, token = page(found, itemgetter("jobArn"), asked, _MAX_PAGE, lambda last: _after(ids, last))
    return {"jobs": list(part), **({"nextToken": token} if token else {})}


def _after(ids: Sequence[str], last: str) -> int:
    return ids.index(last) + 1 if last in ids else 0


def _job_filters(entries: Sequence[Document]) -> list[tuple[str, Sequence[str]]]:
    for entry in entries:
        if entry.get("name") not in ("JOB_STATUS", "JOB_NAME"):
            raise ClientException(f"filter {str(entry.get('name'))[:50]!r} is unknown")
    return [(entry["name"], entry.get("values", [])) for entry in entries]


def _passes(job: Document, name: str, values: Sequence[str]) -> bool:
    return job["jobStatus"] in values if name == "JOB_STATUS" else _matches(job["jobName"], values)


def _jobs_of(region: Region, name: str) -> Iterator[Document]:
    for job_id in region.engine.jobs_consuming(name):
        view, described = region.engine.view(job_id), dict(region.engine.described(job_id))
        needs: Document = described["consumableResourceProperties"]  # type: ignore[assignment]  # stored by SubmitJob
        of_this = (one for one in needs["consumableResourceList"] if _name_of(region, one) == name)
        moments = times(view)
        yield {
            "jobArn": described["jobArn"],
            "jobQueueArn": described["jobQueue"],
            "jobName": described["jobName"],
            "jobDefinitionArn": described["jobDefinition"],
            **({"shareIdentifier": described["shareIdentifier"]} if "shareIdentifier" in described else {}),
            "jobStatus": view.status.value,
            "quantity": sum(one["quantity"] for one in of_this),
            **({"statusReason": view.status_reason} if view.status_reason else {}),
            **{member: moments[member] for member in ("startedAt", "createdAt") if member in moments},
            "consumableResourceProperties": needs,
        }


# ---- what jobs need ----


def checked_needs(properties: Document) -> list[Document]:
    """consumableResourceList, if AWS would allow it. Raises ClientException."""
    needs: list[Document] = properties.get("consumableResourceList", [])
    if len(needs) > MOST_CONSUMABLES_OF_A_JOB:
        raise ClientException(f"a job needs at most {MOST_CONSUMABLES_OF_A_JOB} consumable resources, not {len(needs)}")
    for need in needs:
        if not need.get("consumableResource"):
            raise ClientException("consumableResourceList: consumableResource must be given")
        if need.get("quantity", 0) < 1:
            raise ClientException(f"consumableResourceList: quantity must be 1 or more, not {need.get('quantity')}")
    named = [need["consumableResource"] for need in needs]
    if len(set(named)) < len(named):
        raise ClientException(f"consumableResourceList must not hold a resource twice: {named}")
    return needs


def needs_of(region: Region, definition: Document, asked: Document) -> list[Document]:
    """What a job needs: its definition's list, in which the submission's override replaces or adds resources."""
    merged = {
        _name_of(region, need): need
        for properties in (
            definition.get("consumableResourceProperties", {}),
            asked.get("consumableResourcePropertiesOverride", {}),
        )
        for need in checked_needs(properties)
    }
    needs = checked_needs({"consumableResourceList": list(merged.values())})
    for need in needs:
        region.get(CONSUMABLE, need["consumableResource"])
    return needs


def as_rules(region: Region, needs: Sequence[Document]) -> tuple[ConsumableNeed, ...]:
    """The rulebook's view of what each unit of a job needs."""
    return tuple(ConsumableNeed(name=_name_of(region, need), quantity=need["quantity"]) for need in needs)


def _name_of(region: Region, need: Document) -> str:
    return region.names.name_of(CONSUMABLE, need["consumableResource"])
