"""DescribeJobs' answer as plain JSON: botocore's parser, which walks it member by member, took 80 % of the time.

AWS Batch is REST-JSON without renamed members, and its times are integers (botocore's service model, batch/2016-08-10),
so JSON itself has what the parser would make of it. botocore's event `before-parse` (botocore/endpoint.py,
`_do_get_response`) hands over the body, and takes members that need no parsing. Errors are left to botocore.
"""

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

_EVENT: Final = "before-parse.batch.DescribeJobs"
_OK: Final = 200


def read_as_json(batch: "BatchClient") -> "BatchClient":
    """The same client, whose DescribeJobs is read so; a client that is kept may come here again."""
    batch.meta.events.register(_EVENT, _take_jobs, unique_id="spotbatch-describe-jobs")
    return batch


def _take_jobs(*, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Raises botocore's ResponseParserError where the answer is not AWS Batch's: botocore would read it as empty."""
    body = response_dict["body"]
    if response_dict["status_code"] != _OK:
        return
    try:
        found = json.loads(body, object_pairs_hook=_without_nulls if b"null" in body else None)
    except (ValueError, RecursionError):
        found = None
    jobs = found.get("jobs", []) if isinstance(found, dict) else None
    if not isinstance(jobs, list) or not all(isinstance(each, dict) for each in jobs):
        from botocore.parsers import ResponseParserError

        raise ResponseParserError(f"DescribeJobs: {body[:100]!r}")
    customized_response_dict["jobs"] = jobs
    response_dict["body"] = b"{}"


def _without_nulls(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A member that is null is not there, as for botocore."""
    return {name: value for name, value in pairs if value is not None}
