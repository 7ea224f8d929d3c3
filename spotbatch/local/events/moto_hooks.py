"""Where moto calls us instead of what it has itself: it keeps rules, functions, logs and metrics, and we run them.

moto's own ways would start a Docker container for each call of a function, deliver events in the caller's request and
to a few kinds of targets only, and evaluate neither metric filters nor alarms. The hooks are set once in a process,
which is one region's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """Called on moto's threads; they must not wait."""

    on_put_event: Callable[[str, str, Mapping[str, Any]], None]  # the rule's bus and name, and the event
    on_invoke: Callable[[str, bytes], None]  # a function's ARN and the event, of an asynchronous call by a service
    on_logs: Callable[[str, Sequence[Mapping[str, Any]]], None]  # a group's name and its new events
    on_metrics: Callable[[], None]  # some metric has new data


def install(hooks: Hooks) -> None:
    """Set the hooks. moto is imported: it must be wanted."""
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
        if self.managed_by:  # those of archives, which moto fills
            own(self, original_event, transform_input)
        else:
            hooks.on_put_event(self.event_bus_name, self.name, dict(original_event))

    rule_class.send_to_targets = send_to_targets


def _hook_functions(function_class: Any, hooks: Hooks) -> None:
    def invoke(self: Any, body: str | bytes, _request_headers: Any, response_headers: Any) -> str:
        """Of a service (SNS, S3, DynamoDB, ...): the API's own Invoke does not come here."""
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
