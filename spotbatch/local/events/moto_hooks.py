"""Replaces parts of moto with our own code: it stores rules, functions, logs and metrics, and we execute them.

moto itself would start a Docker container for each invocation of a function, deliver events within the caller's
request and to only a few kinds of targets, and evaluate neither metric filters nor alarms. The hooks are set once per
process, which runs a single region.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """Called on moto's threads; they must not block."""

    on_put_event: Callable[[str, str, Mapping[str, Any]], None]  # the rule's bus and name, and the event
    on_invoke: Callable[[str, bytes], None]  # a function's ARN and the event, for an asynchronous call by a service
    on_logs: Callable[[str, Sequence[Mapping[str, Any]]], None]  # a group's name and its new events
    on_metrics: Callable[[], None]  # some metric has new data


def install(hooks: Hooks) -> None:
    """Set the hooks. This imports moto, so moto must be needed."""
    from moto.awslambda.models import LambdaFunction
    from moto.cloudwatch.models import CloudWatchBackend
    from moto.events.models import Rule
    from moto.logs.models import LogGroup

    _hook_rules(Rule, hooks)
    _hook_functions(LambdaFunction, hooks)
    _hook_logs(LogGroup, hooks)
    _hook_metrics(CloudWatchBackend, hooks)


def _hook_rules(rule_class: Any, hooks: Hooks) -> None:
    own = rule_class.send_to_targets

    def send_to_targets(self: Any, original_event: Mapping[str, Any], transform_input: bool = True) -> None:
        if self.managed_by:  # those for archives, which moto fills
            own(self, original_event, transform_input)
        else:
            hooks.on_put_event(self.event_bus_name, self.name, dict(original_event))

    rule_class.send_to_targets = send_to_targets


def _hook_functions(function_class: Any, hooks: Hooks) -> None:
    def invoke(self: Any, body: str | bytes, _request_headers: Any, response_headers: Any) -> str:
        """By a service (SNS, S3, DynamoDB, ...): the API's own Invoke does not go through here."""
        hooks.on_invoke(self.function_arn, body if isinstance(body, bytes) else str(body or "{}").encode())
        response_headers["status"] = "202"
        return ""

    function_class.invoke = invoke


def _hook_logs(group_class: Any, hooks: Hooks) -> None:
    own = group_class.put_log_events

    def put_log_events(self: Any, log_stream_name: str, log_events: list[dict[str, Any]]) -> str:
        token: str = own(self, log_stream_name, log_events)
        hooks.on_logs(self.name, log_events)
        return token

    group_class.put_log_events = put_log_events


def _hook_metrics(backend_class: Any, hooks: Hooks) -> None:
    own = backend_class.put_metric_data

    def put_metric_data(self: Any, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        own(self, namespace, metric_data)
        hooks.on_metrics()

    backend_class.put_metric_data = put_metric_data
