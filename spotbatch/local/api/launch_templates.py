"""Launch templates of compute environments, as far as AWS Batch reads them: user data must be a MIME archive.

User guide, "Use Amazon EC2 launch templates with AWS Batch": AWS Batch merges its own user data with it. An environment
with any other kind becomes INVALID with the reason below (reported in aws/aws-cdk #6427).
"""

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from email import message_from_bytes
from typing import Final

from spotbatch.local.api.region import LAUNCH_TEMPLATE, Document, Region
from spotbatch.local.contract import Json, launch_template_of

NOT_MIME: Final = "CLIENT_ERROR - Launch Template UserData is not MIME multipart format"


def problem(region: Region, resources: Document) -> str:
    """Why an environment with these computeResources is INVALID; "" if nothing checked here is wrong."""
    named = resources.get("launchTemplate", {})
    wanted = [one for one in (named, *named.get("overrides", [])) if one]
    is_wrong = any(not is_mime(data) for one in wanted if (data := _user_data(region, one)))
    return NOT_MIME if is_wrong else ""


def _user_data(region: Region, named: Mapping[str, str]) -> str | None:
    """A launch template's user data, in Base64: from a loaded stack, or else from moto's EC2."""
    body = _of_a_stack(region, named)
    return region.user_data_of(named) if body is None else str(body.get("userData", ""))


def instance_tags(region: Region, named: Mapping[str, str]) -> dict[str, str]:
    """The tags that the launch template of a loaded stack gives to instances."""
    tags = (_of_a_stack(region, named) or {}).get("tags")
    return dict(tags) if isinstance(tags, Mapping) else {}


def _of_a_stack(region: Region, named: Mapping[str, str]) -> Json | None:
    return launch_template_of(region.engine.resources(LAUNCH_TEMPLATE), named)


def is_mime(user_data: str) -> bool:
    """Whether user data, in Base64, is a MIME multipart archive from the first byte on."""
    try:
        message = message_from_bytes(b64decode(user_data, validate=False))
    except (binascii.Error, ValueError):
        return False
    return message.get_content_maintype() == "multipart" and message.get_boundary() is not None


async def keep(region: Region, key: str, body: Document) -> Callable[[], Awaitable[None]]:
    """Record a launch template made by a stack; returns a function that undoes it."""
    before = region.find(LAUNCH_TEMPLATE, key)
    await region.engine.put_resource(LAUNCH_TEMPLATE, key, body)

    async def undo() -> None:
        if before is None:
            await region.engine.delete_resource(LAUNCH_TEMPLATE, key)
        else:
            await region.engine.put_resource(LAUNCH_TEMPLATE, key, before)

    return undo
