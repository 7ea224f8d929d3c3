"""Reads the template and the parameters from a request to CloudFormation."""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from spotbatch.local.api.errors import ApiError

_KEY: Final = re.compile(r"Parameters\.member\.([0-9]{1,4})\.ParameterKey")
_S3_HOST: Final = re.compile(r"(?:(?P<bucket>[a-z0-9.-]+)\.)?(?:s3[.-][a-z0-9.-]*amazonaws\.com(?:\.cn)?|localhost)")
_MAX_BODY: Final = 51_200  # of TemplateBody (API reference, CreateStack); larger templates use TemplateURL


def template_in(form: Mapping[str, str], object_of: Callable[[str, str], bytes | None]) -> str | None:
    """The template's text, from the request or the object that it names; None if it has none.

    Raises ApiError as CloudFormation would.
    """
    body, url = form.get("TemplateBody"), form.get("TemplateURL")
    if body is not None:
        if len(body.encode("utf-8", "replace")) > _MAX_BODY:
            message = (
                f"Member must have length less than or equal to {_MAX_BODY}: give a larger template by TemplateURL"
            )
            raise ApiError("ValidationError", f"1 validation error detected: Value at 'templateBody': {message}")
        return body
    if url is None:
        return None
    found = object_of(*_bucket_and_key(url))
    if found is None:
        raise ApiError("ValidationError", f"S3 error: {url[:300]!r} is no object of this region")
    return found.decode("utf-8", "replace")


def _bucket_and_key(url: str) -> tuple[str, str]:
    """From a path-style or virtual-hosted URL, on AWS or in this region."""
    parts = urlsplit(url)
    path = unquote(parts.path.lstrip("/"))
    match = _S3_HOST.fullmatch(parts.hostname or "")
    if match is not None and match["bucket"]:
        return match["bucket"], path
    bucket, _, key = path.partition("/")
    return bucket, key


def parameters_in(form: Mapping[str, str], before: Mapping[str, str] | None = None) -> dict[str, str]:
    """The parameters' values; UsePreviousValue takes those of the previous update."""
    found = {}
    for name, key in form.items():
        match = _KEY.fullmatch(name)
        if match is None:
            continue
        prefix = f"Parameters.member.{match[1]}."
        if form.get(f"{prefix}UsePreviousValue") == "true":
            if key in (before or {}):
                found[key] = (before or {})[key]
        else:
            found[key] = form.get(f"{prefix}ParameterValue", "")
    return found
