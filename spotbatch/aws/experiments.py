"""Experiments of AWS Fault Injection Service: start one by its template's id, and check its state."""

import uuid
from dataclasses import dataclass
from typing import Any

from spotbatch.aws import session


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentState:
    """The state of an experiment. `status` is FIS's own value: initiating, running, completed, stopped, failed ..."""

    experiment_id: str
    status: str
    reason: str = ""


class Experiments:
    """Starts experiments. Raises NotFound for a missing template, Unavailable if AWS does not answer."""

    def __init__(self, *, fis: Any = None) -> None:
        self._fis = fis or session.client("fis")  # no boto3 stubs for it here

    def start(self, template_id: str) -> ExperimentState:
        """Start one. The token makes botocore's own retries harmless."""
        return _state(self._fis.start_experiment(clientToken=str(uuid.uuid4()), experimentTemplateId=template_id))

    def state(self, experiment_id: str) -> ExperimentState:
        """The experiment's current state."""
        return _state(self._fis.get_experiment(id=experiment_id))


def _state(answer: Any) -> ExperimentState:
    experiment = answer["experiment"]
    state = experiment.get("state", {})
    return ExperimentState(
        experiment_id=experiment["id"], status=state.get("status", "unknown"), reason=state.get("reason", "")
    )
