"""Runs state machines with moto's own interpreter, whose tasks call this region.

moto can execute state machines (including `batch:submitJob.sync` tasks) but only on request, and its tasks call
moto's own server with moto's keys; those for AWS Batch send members capitalized, as states spell them, which no
client accepts (moto 5.2.5). Its interpreter is imported when Step Functions is first used.
"""

from typing import Any


def install(environment: dict[str, str]) -> None:
    """Make moto execute state machines against the region named by these AWS_* variables."""
    from moto.core.config import default_user_config
    from moto.stepfunctions import responses

    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    module: Any = responses
    own = module.get_backend
    is_prepared = False

    def get_backend(account: str, region: str) -> Any:
        nonlocal is_prepared
        if not is_prepared:
            _call_this_region(environment)
            _spell_for_batch()
            is_prepared = True
        return own(account, region)

    module.get_backend = get_backend


def _call_this_region(environment: dict[str, str]) -> None:
    """Before the interpreter's own modules import the name: the region that its tasks call."""
    from moto.stepfunctions.parser.asl.utils import boto_client

    module: Any = boto_client

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:  # noqa: ARG001 - moto's
        return module.boto3.client(
            service,
            region_name=region,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            config=module.Config(parameter_validation=False, retries={"total_max_attempts": 3}),
        )

    module.boto_client_for = boto_client_for


def _spell_for_batch() -> None:
    """Spells the members of AWS Batch calls as its API does, and those of the responses as states do."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_batch

    task: Any = state_task_service_batch.StateTaskServiceBatch
    service = ServiceModel(Loader().load_service_model("batch", "service-2"), "batch")

    def model_of(self: Any, action: str | None) -> Any:
        name = action or str(self.resource.api_action)  # describe_jobs, or submitJob
        return service.operation_model("".join(part[:1].upper() + part[1:] for part in name.split("_")))

    def parameters_of(self: Any, parameters: Any, _service: Any = None, service_action_name: str | None = None) -> None:
        self._to_boto_request(parameters, model_of(self, service_action_name).input_shape)

    def response_of(self: Any, response: Any, service_action_name: str | None = None) -> None:
        self._from_boto_response(response, model_of(self, service_action_name).output_shape)

    for name, own in (("_normalise_parameters", parameters_of), ("_normalise_response", response_of)):
        setattr(task, name, own)
