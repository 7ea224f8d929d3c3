"""Maps AWS Batch's operations to functions, and their results to HTTP."""

from collections.abc import Awaitable, Callable
from typing import Final

from spotbatch.batch.errors import SpotbatchError
from spotbatch.local.api import (
    consumables,
    definitions,
    describe_jobs,
    environments,
    listing,
    policies,
    queues,
    service_model,
    stop,
    tags,
)
from spotbatch.local.api import submit as submission
from spotbatch.local.api.errors import ApiError, ClientException, as_api_error, error_response
from spotbatch.local.api.http import JSON_TYPE, Head, Response, json_response
from spotbatch.local.api.region import Document, Region

Operation = Callable[[Region, Document], Awaitable[Document | bytes]]

# Quotas for the size of a request (user guide, "Service quotas").
_MOST_BYTES: Final = {"SubmitJob": 30 * 1024, "RegisterJobDefinition": 24 * 1024}

OPERATIONS: Final[dict[str, Operation]] = {
    "CreateComputeEnvironment": environments.create,
    "UpdateComputeEnvironment": environments.update,
    "DescribeComputeEnvironments": environments.describe,
    "DeleteComputeEnvironment": environments.delete,
    "CreateJobQueue": queues.create,
    "UpdateJobQueue": queues.update,
    "DescribeJobQueues": queues.describe,
    "DeleteJobQueue": queues.delete,
    "CreateSchedulingPolicy": policies.create,
    "UpdateSchedulingPolicy": policies.update,
    "DescribeSchedulingPolicies": policies.describe,
    "ListSchedulingPolicies": policies.list_policies,
    "DeleteSchedulingPolicy": policies.delete,
    "CreateConsumableResource": consumables.create,
    "UpdateConsumableResource": consumables.update,
    "DescribeConsumableResource": consumables.describe,
    "ListConsumableResources": consumables.list_resources,
    "DeleteConsumableResource": consumables.delete,
    "ListJobsByConsumableResource": consumables.list_jobs,
    "RegisterJobDefinition": definitions.register,
    "DescribeJobDefinitions": definitions.describe,
    "DeregisterJobDefinition": definitions.deregister,
    "SubmitJob": submission.submit,
    "DescribeJobs": describe_jobs.describe_jobs,
    "ListJobs": listing.list_jobs,
    "GetJobQueueSnapshot": listing.snapshot,
    "CancelJob": stop.cancel,
    "CancelJobs": stop.cancel_jobs,
    "TerminateJob": stop.terminate,
    "TerminateJobs": stop.terminate_jobs,
    "ListTagsForResource": tags.list_tags,
    "TagResource": tags.tag,
    "UntagResource": tags.untag,
}


async def answer(region: Region, head: Head, body: bytes) -> Response:
    """AWS Batch's response, including errors."""
    try:
        call = service_model.parse(head, body)
        most = _MOST_BYTES.get(call.operation)
        if most is not None and len(body) > most:
            raise ClientException(f"a {call.operation} request may hold {most} bytes, not {len(body)}")
        result = await perform(region, call.operation, call.parameters)
    except ApiError as error:
        return error_response(error)
    if isinstance(result, bytes):
        return Response(headers=[("content-type", JSON_TYPE)], body=result)
    return json_response(result)


async def perform(region: Region, operation: str, parameters: Document) -> Document | bytes:
    """Perform one operation; also for callers in this process. Raises ApiError."""
    function = OPERATIONS.get(operation)
    if function is None:
        raise ClientException(f"the local region does not have the operation {operation}")
    try:
        return await function(region, parameters)
    except SpotbatchError as error:
        raise as_api_error(error) from error
