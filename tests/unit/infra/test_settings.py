"""What the settings beyond the default stack make of the template, the idle cost, and the examples of docs/infra.md."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from app import CostOptimizedBatchProcessingStack
from examples.infra.own_network import OwnNetworkStack
from examples.infra.two_definitions import TwoDefinitionsStack
from examples.infra.two_queues import two_queues
from spotbatch.aws.events import GROUP_ID
from spotbatch.batch.errors import InvalidInput
from spotbatch.deployment.egress import choices
from spotbatch.infra import StackSettings
from spotbatch.infra.look.look import INVALID_WEIGHT
from spotbatch.infra.monitoring import COUNTS
from spotbatch.infra.queue_metrics import source
from spotbatch.local.template import Template as LocalTemplate
from spotbatch.pricing.footprint import footprint
from spotbatch.pricing.units import idle_cost, total
from tests.root import ROOT

from aws_cdk import App, Environment, Stack  # isort: skip  # after infra, which chooses its Node
from aws_cdk import aws_ec2 as ec2  # isort: skip
from aws_cdk import aws_s3 as s3  # isort: skip
from aws_cdk.assertions import Template  # isort: skip

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:token-AbCdEf"
BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"
RICH: dict[str, Any] = {
    "instance_types": ["g5", "g4dn.xlarge"],
    "job_gpus": 1,
    "on_demand_fallback": True,
    "on_demand_queue": True,
    "fault_injection": True,
    "kms_key": True,
    "access_logs": True,
    "flow_logs": True,
    "immutable_tags": True,
    "image_tag": "v1",
    "interface_endpoints": ["ecs", "logs"],
    "permissions_boundary": BOUNDARY,
    "job_secrets": {"TOKEN": SECRET},
    "alarm_email": "a@example.com",
    "container_insights": True,
    "monthly_budget_usd": 100,
}

Made = Callable[..., Mapping[str, Any]]


@pytest.fixture(scope="module")
def made() -> Made:
    """The template with some settings; equal settings are synthesized once."""
    known: dict[str, Mapping[str, Any]] = {}

    def made(**settings: Any) -> Mapping[str, Any]:
        key = json.dumps(settings, sort_keys=True)
        if key not in known:
            stack = CostOptimizedBatchProcessingStack(App(), "TestStack", settings=StackSettings.read(settings))
            known[key] = Template.from_stack(stack).to_json()
        return known[key]

    return made


def of_type(template: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a kind, by logical id."""
    return {name: one.get("Properties", {}) for name, one in template["Resources"].items() if one["Type"] == kind}


# ---- compute ----


def test_the_on_demand_environment_stands_second_in_the_queues_order(made: Made) -> None:
    template = made(on_demand_fallback=True)
    (queue,) = of_type(template, "AWS::Batch::JobQueue").values()
    environments = of_type(template, "AWS::Batch::ComputeEnvironment")
    order = sorted(queue["ComputeEnvironmentOrder"], key=lambda each: each["Order"])
    named = [environments[each["ComputeEnvironment"]["Fn::GetAtt"][0]] for each in order]
    assert [each["ComputeResources"]["Type"] for each in named] == ["SPOT", "EC2"]
    assert "BidPercentage" not in named[1]["ComputeResources"]


def test_the_on_demand_queue_has_no_spot_environment_and_an_output_of_its_own(made: Made) -> None:
    template = made(on_demand_queue=True)
    environments = of_type(template, "AWS::Batch::ComputeEnvironment")
    kinds = {
        tuple(
            environments[each["ComputeEnvironment"]["Fn::GetAtt"][0]]["ComputeResources"]["Type"]
            for each in queue["ComputeEnvironmentOrder"]
        )
        for queue in of_type(template, "AWS::Batch::JobQueue").values()
    }
    assert kinds == {("SPOT",), ("EC2",)}
    assert "OnDemandJobQueueName" in template["Outputs"]


def test_the_experiment_interrupts_one_host_of_this_stack_only(made: Made) -> None:
    template = made(fault_injection=True)
    (experiment,) = of_type(template, "AWS::FIS::ExperimentTemplate").values()
    (target,) = experiment["Targets"].values()
    assert (target["SelectionMode"], target["ResourceTags"]) == ("COUNT(1)", {"spotbatch-stack": "TestStack"})
    statements = [
        one
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for one in policy["PolicyDocument"]["Statement"]
        if one["Action"] == "ec2:SendSpotInstanceInterruptions"
    ]
    assert [one["Condition"] for one in statements] == [
        {"StringEquals": {"aws:ResourceTag/spotbatch-stack": "TestStack"}}
    ]
    assert "InterruptionExperimentId" in template["Outputs"]
    assert "AWS::FIS::ExperimentTemplate" not in json.dumps(made())


def test_hosts_with_gpus_get_the_image_with_nvidias_driver_and_jobs_ask_for_gpus(made: Made) -> None:
    template = made(**RICH)
    for each in of_type(template, "AWS::Batch::ComputeEnvironment").values():
        assert each["ComputeResources"]["Ec2Configuration"] == [{"ImageType": "ECS_AL2023_NVIDIA"}]
    (definition,) = of_type(template, "AWS::Batch::JobDefinition").values()
    assert {"Type": "GPU", "Value": "1"} in definition["ContainerProperties"]["ResourceRequirements"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"instance_types": ["c6g", "c5"]}, ["one architecture", "arm64 (c6g)", "x86_64 (c5)"]),
        ({"instance_types": ["c55.large"]}, ["c55.large", "did you mean", "c5"]),
        ({"instance_types": ["c5.huge"]}, ["huge", "2xlarge"]),
        ({"instance_types": ["a1.large"]}, ["'a1.large'", "Amazon Linux 2023 does not run on a1", "m7g"]),
        ({"instance_types": ["p3"]}, ["'p3'", "too old", "g4dn"]),
        ({"instance_types": ["g3s.xlarge"]}, ["too old"]),
        ({"instance_types": ["g5g"]}, ["NVIDIA's driver for Graviton"]),
        ({"vpc_cidr": "10.0.0.0/21"}, ["vpc_cidr", "/21 is too small", "/16 to /20", "10.0.0.0/21"]),
        ({"vpc_cidr": "10.0.0.0/8"}, ["too large"]),
        ({"vpc_cidr": "10.0.5.7/16"}, ["has host bits set", "such as 10.0.0.0/16"]),
        ({"vpc_cidr": "ten"}, ["vpc_cidr", "'ten'", "IPv4"]),
        ({"job_gpus": 1}, ["job_gpus is 1", "g5"]),
        ({"immutable_tags": True}, ["image_tag", "latest"]),
        ({"egress": "public", "interface_endpoints": ["ecs"]}, ["interface_endpoints", "private subnets"]),
        ({"job_secrets": {"TOKEN": "hunter2"}}, ["job_secrets.TOKEN"]),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        StackSettings.read(settings)
    for word in words:
        assert word in str(refused.value)


# ---- access ----


def test_secrets_reach_the_job_through_the_execution_role_and_only_those(made: Made) -> None:
    template = made(**RICH)
    (definition,) = of_type(template, "AWS::Batch::JobDefinition").values()
    assert definition["ContainerProperties"]["Secrets"] == [{"Name": "TOKEN", "ValueFrom": SECRET}]
    reading = [
        statement["Resource"]
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if "secretsmanager:GetSecretValue" in str(statement["Action"])
    ]
    assert reading == [SECRET]


def test_the_permissions_boundary_is_on_every_role_whatever_made_it(made: Made) -> None:
    roles = of_type(made(**RICH), "AWS::IAM::Role")
    assert all(any(name.startswith(room) for name in roles) for room in ("Access", "Network", "Watching"))
    assert all(role["PermissionsBoundary"] == BOUNDARY for role in roles.values())


# ---- watched ----


def test_events_may_be_written_and_alarms_may_be_published(made: Made) -> None:
    (policy,) = of_type(made(), "AWS::SNS::TopicPolicy").values()
    allowed = {
        statement["Principal"]["Service"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    }
    assert {"events.amazonaws.com", "cloudwatch.amazonaws.com"} <= allowed
    assert of_type(made(), "AWS::Logs::ResourcePolicy")


def test_the_event_log_group_is_called_what_spotbatch_events_looks_for(made: Made) -> None:
    groups = [name for name in of_type(made(), "AWS::Logs::LogGroup") if name.startswith(GROUP_ID)]
    (policy,) = of_type(made(), "AWS::Logs::ResourcePolicy").values()
    assert len(groups) == 1
    assert groups[0] in json.dumps(policy)


def test_a_condition_on_the_rule_is_on_writing_events_and_not_on_making_streams(made: Made) -> None:
    """EventBridge makes streams on no rule's behalf: with one condition for both, no event ever arrives."""
    (policy,) = of_type(made(), "AWS::Logs::ResourcePolicy").values()
    document = "".join(each if isinstance(each, str) else "?" for each in policy["PolicyDocument"]["Fn::Join"][1])
    making, writing = json.loads(document)["Statement"]
    assert (making["Action"], writing["Action"]) == ("logs:CreateLogStream", "logs:PutLogEvents")
    assert "Condition" not in making
    assert len(writing["Condition"]["ArnEquals"]["aws:SourceArn"]) == 3, "the three rules of this stack"
    for each in (making, writing):
        assert set(each["Principal"]["Service"]) == {"events.amazonaws.com", "delivery.logs.amazonaws.com"}
        assert each["Resource"] != "*"


def test_the_budget_counts_this_stack_alone(made: Made) -> None:
    """Others in the account tag with Environment=production too."""
    (budget,) = of_type(made(monthly_budget_usd=5), "AWS::Budgets::Budget").values()
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:spotbatch-stack$TestStack"]}


def test_job_events_are_those_of_this_stacks_queues_only(made: Made) -> None:
    template = made(on_demand_queue=True)
    rules = of_type(template, "AWS::Events::Rule").values()
    (jobs,) = [each for each in rules if each.get("EventPattern", {}).get("detail-type") == ["Batch Job State Change"]]
    queues = {each["Fn::GetAtt"][0] for each in jobs["EventPattern"]["detail"]["jobQueue"]}
    assert queues == set(of_type(template, "AWS::Batch::JobQueue"))


def test_every_alarm_counts_a_metric_that_a_filter_or_the_function_makes(made: Made) -> None:
    template = made()
    filters = of_type(template, "AWS::Logs::MetricFilter").values()
    metrics = {each["MetricTransformations"][0]["MetricName"] for each in filters} | {"Stalled"}
    alarms = of_type(template, "AWS::CloudWatch::Alarm").values()
    assert alarms
    assert {each["MetricName"] for each in alarms} <= metrics
    assert all(each["AlarmActions"] for each in alarms)


def test_each_pattern_of_each_count_is_a_filter_and_one_metric_may_have_several(made: Made) -> None:
    filters = of_type(made(), "AWS::Logs::MetricFilter").values()
    made_of = sorted((each["MetricTransformations"][0]["MetricName"], each["FilterPattern"]) for each in filters)
    assert made_of == sorted((each.name, pattern) for each in COUNTS for pattern in each.patterns)


def test_eventbridge_may_publish_without_a_condition_which_it_does_not_support_there(made: Made) -> None:
    (policy,) = of_type(made(), "AWS::SNS::TopicPolicy").values()
    (events,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Sid"] == "EventsMayPublish"]
    assert (events["Action"], "Condition" in events) == ("sns:Publish", False)
    rules = of_type(made(), "AWS::Events::Rule").values()
    assert not [target for rule in rules for target in rule["Targets"] if "RoleArn" in target]


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {"mode": "blocking"}),
        ({"log_mode": "non-blocking"}, {"mode": "non-blocking", "max-buffer-size": "25m"}),
    ],
)
def test_the_log_mode_is_said_and_never_left_to_the_account(
    made: Made, given: dict[str, Any], options: dict[str, str]
) -> None:
    (definition,) = of_type(made(**given), "AWS::Batch::JobDefinition").values()
    said = definition["ContainerProperties"]["LogConfiguration"]["Options"]
    assert {key: said[key] for key in ("mode", "max-buffer-size") if key in said} == options


@pytest.mark.parametrize("egress", ["nat-gateway", "nat-instance", "public"])
def test_the_environment_goes_before_the_network_that_its_hosts_need_to_end(egress: str) -> None:
    app = App()
    stack = CostOptimizedBatchProcessingStack(app, "TestStack", settings=StackSettings.read({"egress": egress}))
    resources = Template.from_stack(stack).to_json()["Resources"]

    def needed(name: str) -> set[str]:
        said = re.findall(r'"(?:Ref|Fn::GetAtt)": \[?"(\w+)"', json.dumps(resources[name]))
        return {*resources[name].get("DependsOn", []), *said} & set(resources)

    reached, left = set(), {name for name, each in resources.items() if "Batch::ComputeEnvironment" in each["Type"]}
    while left:
        reached |= left
        left = {one for name in left for one in needed(name)} - reached
    kinds = {resources[each]["Type"] for each in reached}
    assert {"AWS::EC2::Route", "AWS::EC2::VPCGatewayAttachment"} <= kinds


def test_no_progress_for_half_an_hour_or_an_invalid_environment_raises_an_alarm(made: Made) -> None:
    alarms = of_type(made(), "AWS::CloudWatch::Alarm").values()
    (stalled,) = [each for each in alarms if each["MetricName"] == "Stalled"]
    assert (stalled["Period"], stalled["Statistic"], stalled["Threshold"]) == (1800, "Sum", INVALID_WEIGHT)
    (rule,) = [each for each in of_type(made(), "AWS::Events::Rule").values() if "ScheduleExpression" in each]
    assert rule["ScheduleExpression"] == "rate(5 minutes)"
    assert INVALID_WEIGHT == 1800 / 300, "six looks without progress"


def test_the_function_only_looks_unless_container_insights_is_asked_for(made: Made) -> None:
    def actions(**settings: Any) -> set[str]:
        policies = of_type(made(**settings), "AWS::IAM::Policy")
        (policy,) = [each for name, each in policies.items() if name.startswith("WatchingLooking")]
        found: set[str] = set()
        for statement in policy["PolicyDocument"]["Statement"]:
            one = statement["Action"]
            found |= {one} if isinstance(one, str) else set(one)
        return found

    changing = {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert all(each.partition(":")[2].startswith(("List", "Describe")) for each in actions() - changing)
    assert actions(container_insights=True) - actions() == {"ecs:DescribeClusters", "ecs:UpdateClusterSettings"}


def test_the_function_fits_into_the_template_and_is_what_is_tested(made: Made) -> None:
    (function,) = of_type(made(), "AWS::Lambda::Function").values()
    assert function["Code"]["ZipFile"] == source()
    assert len(source()) <= 4096
    assert ast.dump(ast.parse(source())).count("FunctionDef") == 5


def test_the_dashboard_shows_depth_vcpus_interruptions_failures_durations_and_what_cost_follows(made: Made) -> None:
    (dashboard,) = of_type(made(), "AWS::CloudWatch::Dashboard").values()
    body = json.dumps(dashboard)
    for each in ("DepthRunnable", "VcpusDesired", "VcpusRunning", "AttemptsInterrupted", "statusReason", "job_hours"):
        assert each in body


# ---- the network ----


@pytest.mark.parametrize(("cidr", "prefix"), [("10.0.0.0/16", 20), ("10.9.16.0/20", 24)])
def test_a_smaller_range_has_smaller_subnets_and_room_for_eight_zones(cidr: str, prefix: int) -> None:
    zones = [f"us-east-1{letter}" for letter in "abcdefgh"]
    app = App(context={"availability-zones:account=123456789012:region=us-east-1": zones})
    env = Environment(account="123456789012", region="us-east-1")
    chosen = StackSettings.read({"vpc_cidr": cidr})
    template = Template.from_stack(CostOptimizedBatchProcessingStack(app, "TestStack", settings=chosen, env=env))
    ranges = [IPv4Network(each["CidrBlock"]) for each in of_type(template.to_json(), "AWS::EC2::Subnet").values()]
    assert len(ranges) == 16
    assert all(each.subnet_of(IPv4Network(cidr)) for each in ranges)
    assert sorted({each.prefixlen for each in ranges}) == sorted({24, prefix})


def test_flow_logs_end_with_the_stack_after_the_days_that_logs_are_kept(made: Made) -> None:
    template = made(**RICH)
    (group,) = [each for name, each in template["Resources"].items() if name.startswith("NetworkFlows")]
    assert (group["Type"], group["DeletionPolicy"]) == ("AWS::Logs::LogGroup", "Delete")
    assert group["Properties"]["RetentionInDays"] == 30


def test_a_nat_instance_takes_from_the_vpc_alone_with_imdsv2_and_an_encrypted_disk(made: Made) -> None:
    template = made(egress="nat-instance")
    assert not of_type(template, "AWS::EC2::NatGateway")
    (host,) = of_type(template, "AWS::EC2::Instance").values()
    assert (host["InstanceType"], host["SourceDestCheck"]) == ("t4g.nano", False)
    assert host["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert host["MetadataOptions"] == {"HttpTokens": "required"}
    ingress = [
        rule
        for group in of_type(template, "AWS::EC2::SecurityGroup").values()
        for rule in group.get("SecurityGroupIngress", ())
    ]
    assert [rule["FromPort"] for rule in ingress] == [443]
    assert all("GetAtt" in str(rule["CidrIp"]) for rule in ingress), "the VPC's own range"
    assert total(idle_cost(footprint(template))) < 12


@pytest.mark.parametrize(
    ("settings", "limit_usd"),
    [({}, 40), ({"egress": "public"}, 4), ({"egress": "public", "monitoring": False}, Decimal("0.10"))],
)
def test_an_idle_stack_costs_less_than_promised(made: Made, settings: dict[str, Any], limit_usd: Decimal) -> None:
    assert total(idle_cost(footprint(made(**settings)))) < limit_usd


@pytest.mark.parametrize("settings", [{"egress": "nat-instance"}, RICH], ids=["nat-instance", "rich"])
def test_no_setting_brings_in_a_name_that_a_second_stack_would_clash_with(made: Made, settings: dict[str, Any]) -> None:
    for name, each in made(**settings)["Resources"].items():
        kind = each["Type"].rpartition("::")[2]
        own = {f"{kind}Name", "LaunchTemplateName", "GroupName", "RoleName", "BucketName", "RepositoryName", "Name"}
        properties = each.get("Properties", {})
        fixed = {key for key in own & set(properties) if isinstance(properties[key], str)}
        # Of the account's resource policies this one is CDK's, named after the stack and its logical id; IAM's inline
        # policies are named within their role.
        assert not fixed or kind in ("ResourcePolicy", "Policy"), (name, fixed)


# ---- the template as others read it ----


def test_the_local_region_can_read_the_stack_with_every_setting_on(made: Made) -> None:
    local = LocalTemplate(stack="TestStack", body=made(**RICH), account_id="123456789012", region="us-east-1")
    assert local.outputs()
    for each in local.resources():
        if each.type.startswith("AWS::Batch::"):
            assert local.resolve(each.properties, each.logical_id)


def test_cfn_lint_finds_nothing_with_every_setting_on(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "stack.template.json"
    file.write_text(json.dumps(made(**RICH)))
    lint = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (lint.returncode, lint.stdout) == (0, "")


# ---- the examples of docs/infra.md ----


def test_the_example_with_a_network_and_a_bucket_of_its_own_adds_neither() -> None:
    app = App()
    there = Stack(app, "There")
    stack = OwnNetworkStack(app, "Own", vpc=ec2.Vpc(there, "Vpc"), bucket=s3.Bucket(there, "Bucket"))
    template = Template.from_stack(stack)
    template.resource_count_is("AWS::EC2::VPC", 0)
    template.resource_count_is("AWS::S3::Bucket", 0)
    template.resource_count_is("AWS::Batch::JobQueue", 1)


def test_the_example_with_two_queues_has_arm_hosts_and_no_nat_gateway() -> None:
    template = Template.from_stack(two_queues(App(), "Two"))
    template.resource_count_is("AWS::Batch::JobQueue", 2)
    template.resource_count_is("AWS::EC2::NatGateway", 0)
    template.resource_count_is("AWS::Budgets::Budget", 1)


def test_in_the_example_with_two_definitions_only_one_can_read_the_secret() -> None:
    template = Template.from_stack(TwoDefinitionsStack(App(), "Two")).to_json()
    assert len(of_type(template, "AWS::Batch::JobDefinition")) == 2
    readers = [name for name, one in of_type(template, "AWS::IAM::Policy").items() if "GetSecretValue" in str(one)]
    assert len(readers) == 1
    assert readers[0].startswith("LargeAccess")


def test_the_readme_and_the_page_of_operating_say_what_an_idle_stack_costs(made: Made) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    default, public = (total(idle_cost(footprint(each))) for each in (made(), made(egress="public")))
    assert f"{default:.2f} USD a month" in readme
    assert f"{public:.2f} USD without one" in readme
    for each in choices():
        assert re.search(rf"\| `{each.name}`[^|]*\| {each.usd_a_month:.2f} USD \|", page), each
    assert f"costs {public:.2f} USD" in page
