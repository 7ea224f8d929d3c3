"""Tags of any Batch resource (API reference, TagResource)."""

from collections.abc import Mapping
from typing import Final

from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.region import CONSUMABLE, DEFINITION, ENVIRONMENT, JOB_TAGS, POLICY, QUEUE, Document, Region

_MAX_TAGS: Final = 50
_MAX_KEY: Final = 128
_MAX_VALUE: Final = 256


def checked(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags, if AWS would allow them. Raises ClientException."""
    if len(tags) > _MAX_TAGS:
        raise ClientException(f"a resource has at most {_MAX_TAGS} tags, not {len(tags)}")
    for key, value in tags.items():
        if not 1 <= len(key) <= _MAX_KEY or len(value) > _MAX_VALUE:
            raise ClientException(f"a tag has a key of 1 to 128 and a value of up to 256 characters: {key[:130]!r}")
        if key.lower().startswith("aws:"):
            raise ClientException(f"tag keys that begin with aws: are AWS's own, not {key!r}")
    return dict(tags)


async def list_tags(region: Region, asked: Document) -> Document:
    """ListTagsForResource."""
    return {"tags": current(region, asked["resourceArn"])}


async def tag(region: Region, asked: Document) -> Document:
    """TagResource: adds tags, or replaces their values."""
    arn = asked["resourceArn"]
    await _put(region, arn, checked({**current(region, arn), **asked["tags"]}))
    return {}


async def untag(region: Region, asked: Document) -> Document:
    """UntagResource: missing keys are ignored."""
    arn = asked["resourceArn"]
    kept = {key: value for key, value in current(region, arn).items() if key not in asked["tagKeys"]}
    await _put(region, arn, kept)
    return {}


def current(region: Region, arn: str) -> dict[str, str]:
    """The tags of the resource with this ARN. Raises ClientException."""
    kind, name = _split(region, arn)
    if kind != "job":
        return dict(region.get(kind, name).get("tags", {}))
    if ":" in name:
        raise ClientException("children of array jobs have no tags of their own")
    changed = region.find(JOB_TAGS, name)
    if changed is not None:
        return dict(changed["tags"])
    tags = region.engine.described(name).get("tags", {})
    return dict(tags) if isinstance(tags, Mapping) else {}


def _split(region: Region, arn: str) -> tuple[str, str]:
    for kind in (ENVIRONMENT, QUEUE, DEFINITION, POLICY, CONSUMABLE, "job"):
        prefix = region.names.arn(kind, "")
        if arn.startswith(prefix) and len(arn) > len(prefix):
            return kind, arn.removeprefix(prefix)
    raise ClientException(f"{arn[:300]!r} is not the ARN of a Batch resource of this account and region")


async def _put(region: Region, arn: str, tags: dict[str, str]) -> None:
    kind, name = _split(region, arn)
    if kind == "job":
        await region.engine.put_resource(JOB_TAGS, name, {"tags": tags})
        region.forget_rendered()
        return
    document = region.get(kind, name)
    await region.engine.put_resource(kind, name, {**document, "tags": tags})
