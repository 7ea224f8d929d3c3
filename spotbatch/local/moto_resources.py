"""A template's resources of other services that work in the region, created in moto as CloudFormation would.

Only resources that something here runs, delivers to or evaluates: topics, queues, tables, rules, functions, metric
filters, alarms, state machines. moto maps most types' properties itself; the others are mapped here. Nothing
is imported from moto before something is created: it takes a second.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.local.events.functions.code import archive_of_text

CodeOf = Callable[[str, str], bytes | None]  # bucket and key to the object
ItemsOf = Callable[[str], list[dict[str, Any]]]  # a table's name to its items


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where resources are created, and where their code and their content come from."""

    account_id: str
    region: str
    code_of: CodeOf
    items_of: ItemsOf


Make = Callable[[Place, str, Mapping[str, Any]], None]
Remove = Callable[[Place, str, Mapping[str, Any]], None]


def make(place: Place, kind: str, name: str, properties: Mapping[str, Any]) -> None:
    """Create a resource, or change it to match its properties. Raises what moto raises."""
    _KINDS[kind][0](place, name, json.loads(json.dumps(properties)))  # a copy: moto modifies its input


def remove(place: Place, kind: str, name: str, properties: Mapping[str, Any]) -> None:
    """Remove a resource. Raises what moto raises."""
    _KINDS[kind][1](place, name, properties)


def name_in(kind: str, physical_id: str) -> str:
    """The name of a resource from the value of a Ref: an ARN, a URL or the name itself."""
    if kind in ("AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"):
        return physical_id.rpartition(":")[2]
    return physical_id.rpartition("/")[2] if kind == "AWS::SQS::Queue" else physical_id


# ---- SNS and SQS ----


def _topic(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.sns.models import Topic, sns_backends

    arn = f"arn:aws:sns:{place.region}:{place.account_id}:{name}"
    if arn not in sns_backends[place.account_id][place.region].topics:
        cfn: Any = Topic
        cfn.create_from_cloudformation_json(name, {"Properties": properties}, place.account_id, place.region)


def _no_topic(place: Place, name: str, _properties: Mapping[str, Any]) -> None:
    from moto.sns.models import sns_backends

    sns_backends[place.account_id][place.region].delete_topic(f"arn:aws:sns:{place.region}:{place.account_id}:{name}")


def _subscription(place: Place, _name: str, properties: Mapping[str, Any]) -> None:
    from moto.sns.models import sns_backends

    backend: Any = sns_backends[place.account_id][place.region]
    made = backend.subscribe(properties["TopicArn"], properties["Endpoint"], properties["Protocol"])
    for name in ("RawMessageDelivery", "FilterPolicy", "FilterPolicyScope"):
        if name in properties:
            value = properties[name]
            text = value if isinstance(value, str) else json.dumps(value)
            backend.set_subscription_attributes(made.arn, name, text)


def _no_subscription(place: Place, _name: str, properties: Mapping[str, Any]) -> None:
    from moto.sns.models import sns_backends

    backend: Any = sns_backends[place.account_id][place.region]
    for arn, one in list(backend.subscriptions.items()):
        if one.topic.arn == properties.get("TopicArn") and one.endpoint == properties.get("Endpoint"):
            backend.unsubscribe(arn)


def _queue(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.sqs.models import Queue, sqs_backends

    if name not in sqs_backends[place.account_id][place.region].queues:
        cfn: Any = Queue
        cfn.create_from_cloudformation_json(name, {"Properties": properties}, place.account_id, place.region)


def _no_queue(place: Place, name: str, _properties: Mapping[str, Any]) -> None:
    from moto.sqs.models import sqs_backends

    sqs_backends[place.account_id][place.region].delete_queue(name)


# ---- DynamoDB and Step Functions ----


def _table(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.dynamodb.models import dynamodb_backends
    from moto.dynamodb.models.table import Table

    backend: Any = dynamodb_backends[place.account_id][place.region]
    if name not in backend.tables:  # an update of the stack keeps the table's content
        cfn: Any = Table
        cfn.create_from_cloudformation_json(name, {"Properties": properties}, place.account_id, place.region)
        expiry = properties.get("TimeToLiveSpecification")
        if expiry:
            backend.update_time_to_live(name, expiry)
        for item in place.items_of(name):  # of before the region was last started
            backend.tables[name].put_item(item)


def _no_table(place: Place, name: str, _properties: Mapping[str, Any]) -> None:
    from moto.dynamodb.models import dynamodb_backends

    dynamodb_backends[place.account_id][place.region].delete_table(name=name)


def _state_machine(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.stepfunctions import responses

    backend: Any = responses.get_backend(place.account_id, place.region)
    arn = f"arn:aws:states:{place.region}:{place.account_id}:stateMachine:{name}"
    definition = properties.get("DefinitionString") or json.dumps(properties.get("Definition", {}))
    for key, value in (properties.get("DefinitionSubstitutions") or {}).items():
        definition = definition.replace(f"${{{key}}}", str(value))
    if any(one.arn == arn for one in backend.state_machines):
        backend.update_state_machine(arn, definition=definition, role_arn=properties.get("RoleArn"))
    else:
        backend.create_state_machine(name, definition, properties.get("RoleArn", ""))


def _no_state_machine(place: Place, name: str, _properties: Mapping[str, Any]) -> None:
    from moto.stepfunctions import responses

    arn = f"arn:aws:states:{place.region}:{place.account_id}:stateMachine:{name}"
    responses.get_backend(place.account_id, place.region).delete_state_machine(arn)


# ---- EventBridge ----


def _rule(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.events.models import Rule, events_backends

    bus = str(properties.get("EventBusName") or "default").rpartition("/")[2]
    if name in events_backends[place.account_id][place.region].event_buses[bus].rules:
        _no_rule(place, name, properties)
    cfn: Any = Rule
    cfn.create_from_cloudformation_json(name, {"Properties": properties}, place.account_id, place.region)


def _no_rule(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.events.models import events_backends

    backend: Any = events_backends[place.account_id][place.region]
    bus = str(properties.get("EventBusName") or "default").rpartition("/")[2]
    rule = backend.event_buses[bus].rules.get(name)
    if rule is not None:
        rule.remove_targets([one["Id"] for one in rule.targets])
        backend.delete_rule(name, bus)


# ---- Lambda ----

_FUNCTION_MEMBERS: Final = (
    *("Description", "MemorySize", "Timeout", "VpcConfig", "Environment", "Layers", "Architectures"),
    *("EphemeralStorage", "TracingConfig", "PackageType", "ReservedConcurrentExecutions"),
)


def _function(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.awslambda.models import LambdaFunction, lambda_backends

    backend: Any = lambda_backends[place.account_id][place.region]
    spec: dict[str, Any] = {one: properties[one] for one in _FUNCTION_MEMBERS if one in properties}
    for member in ("MemorySize", "Timeout", "ReservedConcurrentExecutions"):
        if member in spec:
            spec[member] = int(spec[member])
    spec |= {
        "FunctionName": name,
        "Handler": properties.get("Handler"),
        "Role": properties.get("Role", ""),
        "Runtime": properties.get("Runtime"),
        "Code": _code(place, properties.get("Code") or {}),
    }
    function_class: Any = LambdaFunction
    made = function_class(account_id=place.account_id, spec=spec, region=place.region, version="$LATEST")
    # Not through create_function: it requires the role in moto's IAM, and a template may name one from another stack.
    kept = backend._lambdas  # noqa: SLF001 - moto offers no other way
    kept._functions.setdefault(name, {"versions": []})["latest"] = made  # noqa: SLF001 - as above
    kept._arns[made.function_arn] = made  # noqa: SLF001 - as above
    # moto keeps neither; the code that runs the function reads them here.
    made.dead_letter_config = properties.get("DeadLetterConfig") or {}
    made.logging_config = properties.get("LoggingConfig") or {}


def _code(place: Place, code: Mapping[str, Any]) -> dict[str, Any]:
    """The archive itself; empty for an image, or for an object that does not exist."""
    if "ZipFile" in code:
        content: bytes | None = archive_of_text(str(code["ZipFile"]))
    elif "S3Bucket" in code:
        content = place.code_of(str(code["S3Bucket"]), str(code.get("S3Key", "")))
    else:
        return dict(code)
    return {} if content is None else {"ZipFile": base64.b64encode(content).decode()}


def _no_function(place: Place, name: str, _properties: Mapping[str, Any]) -> None:
    from moto.awslambda.models import lambda_backends

    lambda_backends[place.account_id][place.region].delete_function(name)


def _invoke_config(place: Place, _name: str, properties: Mapping[str, Any]) -> None:
    from moto.awslambda.models import lambda_backends

    members = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
    config = {one: properties[one] for one in members if one in properties}
    backend: Any = lambda_backends[place.account_id][place.region]
    backend.put_function_event_invoke_config(str(properties["FunctionName"]), config)


def _no_invoke_config(place: Place, _name: str, properties: Mapping[str, Any]) -> None:
    from moto.awslambda.models import lambda_backends

    lambda_backends[place.account_id][place.region].delete_function_event_invoke_config(str(properties["FunctionName"]))


# ---- CloudWatch ----


def _metric_filter(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.logs.models import logs_backends

    backend: Any = logs_backends[place.account_id][place.region]
    transformations = [
        {key[0].lower() + key[1:]: value for key, value in one.items()} for one in properties["MetricTransformations"]
    ]
    for one in transformations:
        if "dimensions" in one:
            one["dimensions"] = {each["Key"]: each["Value"] for each in one["dimensions"]}
    _no_metric_filter(place, name, properties)
    backend.put_metric_filter(
        name, str(properties.get("FilterPattern", "")), str(properties["LogGroupName"]), transformations
    )


def _no_metric_filter(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.logs.models import logs_backends

    logs_backends[place.account_id][place.region].delete_metric_filter(name, str(properties["LogGroupName"]))


def _alarm(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    from moto.cloudwatch.models import cloudwatch_backends

    backend: Any = cloudwatch_backends[place.account_id][place.region]
    before = backend.alarms.get(name)
    made = backend.put_metric_alarm(
        name=name,
        namespace=properties.get("Namespace"),
        metric_name=properties.get("MetricName"),
        comparison_operator=properties["ComparisonOperator"],
        evaluation_periods=int(properties["EvaluationPeriods"]),
        period=int(properties.get("Period", 0)) or None,
        threshold=float(properties.get("Threshold", 0)),
        statistic=properties.get("Statistic"),
        description=properties.get("AlarmDescription", ""),
        dimensions=properties.get("Dimensions", []),
        alarm_actions=properties.get("AlarmActions", []),
        datapoints_to_alarm=int(properties["DatapointsToAlarm"]) if "DatapointsToAlarm" in properties else None,
        extended_statistic=properties.get("ExtendedStatistic"),
        ok_actions=properties.get("OKActions", []),
        insufficient_data_actions=properties.get("InsufficientDataActions", []),
        unit=properties.get("Unit"),
        actions_enabled=str(properties.get("ActionsEnabled", True)).lower() == "true",
        treat_missing_data=properties.get("TreatMissingData"),
    )
    # A new alarm has no state yet, but moto says OK (user guide, "Metric alarm states"); an update keeps the old one.
    made.state_value = "INSUFFICIENT_DATA" if before is None else before.state_value


def _no_alarm(place: Place, name: str, _properties: Mapping[str, Any]) -> None:
    from moto.cloudwatch.models import cloudwatch_backends

    cloudwatch_backends[place.account_id][place.region].delete_alarms([name])


# ---- Fault Injection Service ----


def _experiment(place: Place, name: str, properties: Mapping[str, Any]) -> None:
    """Through moto's own class, since its backend would choose an id other than the stack's."""
    from moto.fis.models import ExperimentTemplate, fis_backends

    backend: Any = fis_backends[place.account_id][place.region]
    now = time.time()
    backend.experiment_templates[name] = ExperimentTemplate(
        account_id=place.account_id,
        region_name=place.region,
        id=name,
        client_token=name,
        description=str(properties.get("Description", "")),
        stop_conditions=[_camel(one) for one in properties.get("StopConditions") or []],
        targets={key: _target(one) for key, one in (properties.get("Targets") or {}).items()},
        actions={key: _camel(one) for key, one in (properties.get("Actions") or {}).items()},
        role_arn=str(properties.get("RoleArn", "")),
        log_configuration=None,
        experiment_options=None,
        experiment_report_configuration=None,
        creation_time=now,
        last_update_time=now,
    )


def _camel(value: Mapping[str, Any]) -> dict[str, Any]:
    """CloudFormation's members in the spelling of the service's API; nested values are unchanged."""
    return {key[0].lower() + key[1:]: one for key, one in value.items()}


def _target(value: Mapping[str, Any]) -> dict[str, Any]:
    target = _camel(value)
    if "filters" in target:
        target["filters"] = [_camel(one) for one in target["filters"]]
    return target


def _no_experiment(place: Place, name: str, _properties: Mapping[str, Any]) -> None:
    from moto.fis.models import fis_backends

    fis_backends[place.account_id][place.region].experiment_templates.pop(name, None)


# In creation order: what others refer to comes first.
_KINDS: Final[Mapping[str, tuple[Make, Remove]]] = {
    "AWS::DynamoDB::Table": (_table, _no_table),
    "AWS::SNS::Topic": (_topic, _no_topic),
    "AWS::SQS::Queue": (_queue, _no_queue),
    "AWS::SNS::Subscription": (_subscription, _no_subscription),
    "AWS::Lambda::Function": (_function, _no_function),
    "AWS::Lambda::EventInvokeConfig": (_invoke_config, _no_invoke_config),
    "AWS::StepFunctions::StateMachine": (_state_machine, _no_state_machine),
    "AWS::Events::Rule": (_rule, _no_rule),
    "AWS::Logs::MetricFilter": (_metric_filter, _no_metric_filter),
    "AWS::CloudWatch::Alarm": (_alarm, _no_alarm),
    "AWS::FIS::ExperimentTemplate": (_experiment, _no_experiment),
}
KINDS: Final = tuple(_KINDS)
