"""The template of the stack: one behaviour a test. Synthesis is slow, so each stack is made once a module."""

import json
import subprocess
import sys
from collections.abc import Callable
from email import message_from_string
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from app import CostOptimizedBatchProcessingStack
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.retry import spot_safe
from spotbatch.infra import StackSettings

from aws_cdk import App, Environment  # isort: skip  # after infra, which chooses its Node
from aws_cdk.assertions import Match, Template  # isort: skip

ROOT = Path(__file__).resolve().parent.parent
THREE_ZONES = {"availability-zones:account=123456789012:region=us-east-1": ["us-east-1a", "us-east-1b", "us-east-1c"]}
ACCOUNT = Environment(account="123456789012", region="us-east-1")

Make = Callable[..., Template]


@pytest.fixture(scope="module")
def template() -> Template:
    """The default stack, as `CostOptimizedBatchProcessingStack(App(), "TestStack", env=...)` alone gives it."""
    return Template.from_stack(CostOptimizedBatchProcessingStack(App(context=THREE_ZONES), "TestStack", env=ACCOUNT))


@pytest.fixture(scope="module")
def make() -> Make:
    """A stack with settings of its own; equal settings are synthesized once."""
    made: dict[str, Template] = {}

    def make(**settings: Any) -> Template:
        key = json.dumps(settings, sort_keys=True)
        if key not in made:
            chosen = StackSettings.read(settings)
            made[key] = Template.from_stack(CostOptimizedBatchProcessingStack(App(), "TestStack", settings=chosen))
        return made[key]

    return make


def only(template: Template, kind: str) -> dict[str, Any]:
    """The properties of the one resource of a kind."""
    ((_, resource),) = template.find_resources(kind).items()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def statements(template: Template) -> list[dict[str, Any]]:
    """Every statement of every identity policy."""
    return [
        statement
        for policy in template.find_resources("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---- outputs and tags ----


def test_the_stack_has_just_the_six_outputs_of_the_seed(template: Template) -> None:
    assert set(template.find_outputs("*")) == {
        "ECRRepositoryURI",
        "JobQueueName",
        "JobDefinitionName",
        "ComputeEnvironmentName",
        "ArtifactsBucketName",
        "LogGroupName",
    }


def test_resources_carry_the_projects_tags(template: Template) -> None:
    tags = [{"Key": "Environment", "Value": "production"}, {"Key": "Project", "Value": "CostOptimizedBatchProcessing"}]
    for tag in tags:
        template.has_resource_properties("AWS::S3::Bucket", {"Tags": Match.array_with([tag])})
        template.has_resource_properties("AWS::EC2::VPC", {"Tags": Match.array_with([tag])})
    project = {"Project": "CostOptimizedBatchProcessing"}
    for kind in ("AWS::Batch::ComputeEnvironment", "AWS::Batch::JobQueue", "AWS::Batch::JobDefinition"):
        template.has_resource_properties(kind, {"Tags": Match.object_like(project)})


# ---- network ----


def test_the_vpc_has_public_and_private_subnets_in_every_zone_that_it_is_given(template: Template) -> None:
    template.has_resource_properties("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"})
    subnets = [each["Properties"] for each in template.find_resources("AWS::EC2::Subnet").values()]
    for public in (True, False):
        zones = {each["AvailabilityZone"] for each in subnets if each["MapPublicIpOnLaunch"] is public}
        assert zones == {"us-east-1a", "us-east-1b", "us-east-1c"}


def test_there_is_one_nat_gateway_not_one_a_zone(template: Template) -> None:
    template.resource_count_is("AWS::EC2::NatGateway", 1)


def test_s3_is_reached_through_a_gateway_endpoint_that_costs_nothing(template: Template) -> None:
    template.has_resource_properties("AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Gateway"})


def test_security_groups_let_nothing_in_and_only_https_out(template: Template) -> None:
    template.resource_count_is("AWS::EC2::SecurityGroupIngress", 0)
    group = only(template, "AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert [rule["FromPort"] for rule in group["SecurityGroupEgress"]] == [443]


def test_public_egress_has_no_nat_gateway_and_still_lets_nothing_in(make: Make) -> None:
    template = make(egress="public")
    template.resource_count_is("AWS::EC2::NatGateway", 0)
    template.resource_count_is("AWS::EC2::EIP", 0)
    interface = only(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["NetworkInterfaces"][0]
    assert interface["AssociatePublicIpAddress"] is True
    assert "SecurityGroupIngress" not in only(template, "AWS::EC2::SecurityGroup")


# ---- registry, bucket, logs ----


def test_images_are_scanned_on_push_and_old_ones_go(template: Template) -> None:
    repository = only(template, "AWS::ECR::Repository")
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    rules = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert [rule["selection"]["tagStatus"] for rule in rules] == ["untagged", "any"]


def test_the_bucket_is_private_versioned_and_encrypted(template: Template) -> None:
    bucket = only(template, "AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["BucketEncryption"]


def test_the_bucket_refuses_plain_http_and_old_tls(template: Template) -> None:
    denied = [
        s for s in only(template, "AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"
    ]
    conditions = [statement["Condition"] for statement in denied]
    assert {"Bool": {"aws:SecureTransport": "false"}} in conditions
    assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in conditions


def test_artifacts_grow_cheaper_and_old_versions_and_abandoned_uploads_go(template: Template) -> None:
    rules = {rule["Id"]: rule for rule in only(template, "AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]}
    assert [(t["StorageClass"], t["TransitionInDays"]) for t in rules["grow-cheaper"]["Transitions"]] == [
        ("STANDARD_IA", 30),
        ("GLACIER", 90),
    ]
    assert rules["old-versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rules["abandoned-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_job_logs_are_kept_thirty_days(template: Template) -> None:
    assert {
        each["Properties"]["RetentionInDays"] for each in template.find_resources("AWS::Logs::LogGroup").values()
    } == {30}


@pytest.mark.parametrize(("retain", "policy"), [(True, "RetainExceptOnCreate"), (False, "Delete")])
def test_data_outlives_the_stack_unless_the_user_says_otherwise(make: Make, retain: bool, policy: str) -> None:
    template = make(retain_data=retain)
    for kind in ("AWS::S3::Bucket", "AWS::ECR::Repository"):
        (resource,) = template.find_resources(kind).values()
        assert resource["DeletionPolicy"] == policy


# ---- roles ----


def test_no_policy_allows_every_action_or_any_resource_but_where_aws_knows_none(template: Template) -> None:
    for statement in statements(template):
        actions = as_list(statement["Action"])
        assert not any(action.endswith(":*") or action == "*" for action in actions)
        if "*" in as_list(statement["Resource"]):  # AWS knows no resource for these; the last three only look
            looks = {"batch:ListJobs", "batch:DescribeJobs", "batch:DescribeComputeEnvironments"}
            assert actions == ["ecr:GetAuthorizationToken"] or set(actions) == looks


def test_the_job_role_reaches_only_the_runs_of_this_stacks_bucket(template: Template) -> None:
    s3 = [s for s in statements(template) if any(action.startswith("s3:") for action in as_list(s["Action"]))]
    (objects,) = [s for s in s3 if "s3:PutObject" in as_list(s["Action"])]
    (bucket_id,) = template.find_resources("AWS::S3::Bucket")
    bucket_arn = {"Fn::GetAtt": [bucket_id, "Arn"]}
    assert objects["Resource"] == {"Fn::Join": ["", [bucket_arn, "/runs/*"]]}
    (listing,) = [s for s in s3 if s is not objects]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["runs/*"]}}


def test_task_roles_can_be_taken_only_for_tasks_of_this_account(template: Template) -> None:
    roles = template.find_resources("AWS::IAM::Role").values()
    documents = [role["Properties"]["AssumeRolePolicyDocument"]["Statement"][0] for role in roles]
    tasks = [each for each in documents if each["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}]
    assert len(tasks) == 2
    for each in tasks:
        assert each["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_batch_uses_its_service_linked_role_by_default_so_that_updates_happen_in_place(template: Template) -> None:
    environment = only(template, "AWS::Batch::ComputeEnvironment")
    assert "ServiceRole" not in environment
    assert environment["ReplaceComputeEnvironment"] is False
    assert environment["UpdatePolicy"] == {"TerminateJobsOnUpdate": False, "JobExecutionTimeoutMinutes": 30}


def test_a_dedicated_service_role_is_a_setting(make: Make) -> None:
    template = make(service_role="dedicated")
    environment = only(template, "AWS::Batch::ComputeEnvironment")
    assert "Fn::GetAtt" in environment["ServiceRole"]
    assert environment["ReplaceComputeEnvironment"] is True


def test_the_dedicated_service_role_hands_on_only_the_stacks_roles_and_acts_only_here(make: Make) -> None:
    template = make(service_role="dedicated")
    (policy,) = [p for p in template.find_resources("AWS::IAM::Policy") if "BatchServiceRole" in p]
    ours = template.find_resources("AWS::IAM::Policy")[policy]["Properties"]["PolicyDocument"]["Statement"]
    passed = [s for s in ours if "iam:PassRole" in as_list(s["Action"])]
    targets = [str(each["Fn::GetAtt"][0]) for s in passed for each in as_list(s["Resource"])]
    assert sorted(name.partition("Role")[0] for name in targets) == ["AccessExecution", "AccessInstance", "AccessJob"]
    assert all("iam:PassedToService" in s["Condition"]["StringEquals"] for s in passed)
    for statement in ours:
        actions = as_list(statement["Action"])
        assert not any(action.endswith("*") for action in actions)
        if "*" in as_list(statement["Resource"]):
            assert all(":Describe" in action or ":List" in action for action in actions)
            assert "aws:RequestedRegion" in statement["Condition"]["StringEquals"]
    roles = template.find_resources("AWS::IAM::Role")
    (role,) = [roles[name]["Properties"] for name in roles if "BatchServiceRole" in name]
    assert "ManagedPolicyArns" not in role


def test_the_environment_is_deleted_before_the_roles_that_it_needs(template: Template) -> None:
    (environment,) = template.find_resources("AWS::Batch::ComputeEnvironment").values()
    assert any("InstanceRole" in name for name in environment["DependsOn"])


# ---- compute, queue, job definition ----


def test_compute_is_spot_from_zero_to_256_vcpus_at_80_percent(template: Template) -> None:
    resources = only(template, "AWS::Batch::ComputeEnvironment")["ComputeResources"]
    expected = {
        "Type": "SPOT",
        "MinvCpus": 0,
        "MaxvCpus": 256,
        "BidPercentage": 80,
        "AllocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
    }
    assert {key: resources[key] for key in expected} == expected


def test_compute_uses_c5_m5_and_r5_in_ten_types_or_more_and_never_optimal(template: Template) -> None:
    types = only(template, "AWS::Batch::ComputeEnvironment")["ComputeResources"]["InstanceTypes"]
    assert {each.partition(".")[0] for each in types} == {"c5", "m5", "r5"}
    assert len(types) >= 10
    assert "optimal" not in types


def test_edits_of_the_launch_template_reach_new_instances(template: Template) -> None:
    (template_id,) = template.find_resources("AWS::EC2::LaunchTemplate")
    launch = only(template, "AWS::Batch::ComputeEnvironment")["ComputeResources"]["LaunchTemplate"]
    assert launch["Version"] == {"Fn::GetAtt": [template_id, "LatestVersionNumber"]}


def test_hosts_take_imdsv2_only_over_one_hop(template: Template) -> None:
    data = only(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    assert data["MetadataOptions"] == {
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
        "HttpEndpoint": "enabled",
    }


def test_containers_in_the_hosts_network_are_kept_from_the_metadata_service(template: Template, tmp_path: Path) -> None:
    """AWS Batch runs them there, and a hop limit does not count within a host."""
    encoded = only(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    (part,) = [each for each in message_from_string(encoded).walk() if not each.is_multipart()]
    slice_ = str(part.get_payload()).partition("ecstasks.slice <<'END_OF_FILE'\n")[2].partition("END_OF_FILE")[0]
    assert "[Slice]\nIPAddressDeny=169.254.169.254/32" in slice_
    file = tmp_path / "ecstasks.slice"
    file.write_text(slice_)
    if checker := which("systemd-analyze"):
        found = subprocess.run([checker, "verify", str(file)], capture_output=True, text=True, check=False, timeout=60)
        assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_a_host_under_notice_takes_no_new_jobs(template: Template) -> None:
    """ECS leaves such a host open unless its agent drains it; each placement there would cost a retry."""
    encoded = only(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    (part,) = [each for each in message_from_string(encoded).walk() if not each.is_multipart()]
    assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true >> /etc/ecs/ecs.config" in str(part.get_payload())


def test_the_agent_waits_for_the_proof_of_the_fence_unless_a_setting_says_otherwise(make: Make) -> None:
    for chosen, settings in (("required", {}), ("tried", {"metadata_fence": "tried"})):
        data = only(make(**settings), "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
        assert f"SPOTBATCH_FENCE={chosen}\n" in data["UserData"]["Fn::Base64"]
        assert "RequiredBy=ecs.service" in data["UserData"]["Fn::Base64"]


def test_hosts_have_encrypted_gp3_disks_and_tags_on_instances_and_volumes(template: Template) -> None:
    data = only(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    disk = data["BlockDeviceMappings"][0]["Ebs"]
    assert (disk["Encrypted"], disk["VolumeType"]) == (True, "gp3")
    tagged = {each["ResourceType"]: each["Tags"] for each in data["TagSpecifications"]}
    assert {"Key": "Project", "Value": "CostOptimizedBatchProcessing"} in tagged["instance"]
    assert {"Key": "Project", "Value": "CostOptimizedBatchProcessing"} in tagged["volume"]


def test_nothing_has_a_fixed_name_so_that_two_stacks_can_live_side_by_side(template: Template) -> None:
    named = {
        "AWS::Batch::ComputeEnvironment": "ComputeEnvironmentName",
        "AWS::Batch::JobQueue": "JobQueueName",
        "AWS::Batch::JobDefinition": "JobDefinitionName",
        "AWS::ECR::Repository": "RepositoryName",
        "AWS::S3::Bucket": "BucketName",
        "AWS::Logs::LogGroup": "LogGroupName",
        "AWS::IAM::Role": "RoleName",
        "AWS::EC2::LaunchTemplate": "LaunchTemplateName",
    }
    for kind, name in named.items():
        for resource in template.find_resources(kind).values():
            assert name not in resource["Properties"], f"{kind} has a fixed {name}"


def test_the_queue_cancels_a_job_at_its_head_that_can_never_run(template: Template) -> None:
    actions = only(template, "AWS::Batch::JobQueue")["JobStateTimeLimitActions"]
    assert {action["State"] for action in actions} == {"RUNNABLE"}
    assert {action["Reason"] for action in actions} == {
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    }


def test_the_retry_strategy_is_the_rulebooks_entry_by_entry(template: Template) -> None:
    rendered = only(template, "AWS::Batch::JobDefinition")["RetryStrategy"]
    ours = spot_safe()
    assert rendered["Attempts"] == ours.attempts == 10
    keys = {
        "Action": "action",
        "OnExitCode": "on_exit_code",
        "OnReason": "on_reason",
        "OnStatusReason": "on_status_reason",
    }
    for theirs, mine in zip(rendered["EvaluateOnExit"], ours.evaluate_on_exit, strict=True):
        assert {name: theirs.get(name) for name in keys} == {name: getattr(mine, key) for name, key in keys.items()}
    assert rendered["EvaluateOnExit"][-1] == {"Action": "EXIT", "OnReason": "*"}


def test_jobs_write_to_the_stacks_log_group_and_end_after_their_timeout(template: Template) -> None:
    definition = only(template, "AWS::Batch::JobDefinition")
    group = template.find_outputs("LogGroupName")["LogGroupName"]["Value"]
    logging = definition["ContainerProperties"]["LogConfiguration"]
    assert logging["LogDriver"] == "awslogs"
    assert logging["Options"]["awslogs-group"] == group
    assert definition["Timeout"]["AttemptDurationSeconds"] >= 60


def test_jobs_see_the_interruption_notice_read_only_and_know_where_artifacts_go(template: Template) -> None:
    container = only(template, "AWS::Batch::JobDefinition")["ContainerProperties"]
    (mount,) = container["MountPoints"]
    assert mount["ReadOnly"] is True
    environment = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert environment["SPOTBATCH_NOTICE_FILE"].startswith(mount["ContainerPath"])
    assert "SPOTBATCH_ARTIFACTS_URL" in environment


def test_jobs_know_their_region_which_the_ecs_agent_may_not_tell_them(template: Template) -> None:
    """By reference, though the stack's is known here: the template also goes into regions on a machine."""
    container = only(template, "AWS::Batch::JobDefinition")["ContainerProperties"]
    environment = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == {"Ref": "AWS::Region"}


# ---- settings ----


def test_settings_change_the_template(make: Make) -> None:
    template = make(max_vcpus=64, instance_types=["c6i.large", "m6i.large"], bid_percentage=60, job_attempts=3)
    resources = only(template, "AWS::Batch::ComputeEnvironment")["ComputeResources"]
    assert (resources["MaxvCpus"], resources["BidPercentage"]) == (64, 60)
    assert resources["InstanceTypes"] == ["c6i.large", "m6i.large"]
    assert only(template, "AWS::Batch::JobDefinition")["RetryStrategy"]["Attempts"] == 3


def test_settings_come_from_the_context_key() -> None:
    app = App(context={"spotbatch": {"max_vcpus": 12}})
    template = Template.from_stack(CostOptimizedBatchProcessingStack(app, "TestStack"))
    assert only(template, "AWS::Batch::ComputeEnvironment")["ComputeResources"]["MaxvCpus"] == 12


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_vcpu": 5}, ["max_vcpu", "there is no such setting", "max_vcpus"]),
        ({"bid_percentage": 120}, ["bid_percentage", "120", "100"]),
        ({"instance_types": ["optimal"]}, ["instance_types", "optimal"]),
        ({"egress": "nat"}, ["egress", "'nat'", "nat-gateway"]),
        ({"min_vcpus": 300}, ["min_vcpus (300)", "max_vcpus (256)"]),
        ({"log_retention_days": 31}, ["log_retention_days", "31", "30"]),
        ("many", ["'many'"]),
    ],
)
def test_a_wrong_setting_is_refused_with_key_value_and_what_is_allowed(settings: object, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        StackSettings.read(settings)
    for word in words:
        assert word in str(refused.value)


# ---- the application ----


def test_the_application_synthesizes_without_credentials_and_cfn_lint_finds_nothing(tmp_path: Path) -> None:
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CDK_OUTDIR": str(tmp_path / "out")}
    subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=clean, check=True, timeout=120)
    template = tmp_path / "out" / "CostOptimizedBatchProcessing.template.json"
    lint = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(template)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (lint.returncode, lint.stdout) == (0, ""), lint.stdout + lint.stderr


@pytest.mark.parametrize("account", ["", "123456789012"])
def test_the_cdk_checks_a_template_that_is_for_an_account_and_finds_nothing(tmp_path: Path, account: str) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CDK_OUTDIR": str(tmp_path / "out")}
    env |= {"CDK_DEFAULT_ACCOUNT": account, "CDK_DEFAULT_REGION": "us-east-1"}
    env |= {"CDK_CONTEXT_JSON": json.dumps(THREE_ZONES)}
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    report = tmp_path / "out" / "validation-report.json"
    assert report.exists() is bool(account)
    if account:
        (checked,) = json.loads(report.read_text())["pluginReports"]
        assert checked["conclusion"] == "success"


def test_a_wrong_setting_ends_the_application_with_one_clear_message(tmp_path: Path) -> None:
    context = json.dumps({"spotbatch": {"max_vcpus": "lots"}})
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CDK_OUTDIR": str(tmp_path), "CDK_CONTEXT_JSON": context}
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 2
    assert "max_vcpus" in run.stderr
    assert "Traceback" not in run.stderr


def test_our_own_audit_finds_nothing_in_the_default_stack_that_is_not_judged(template: Template) -> None:
    from spotbatch.audit.audit import audit
    from spotbatch.audit.read_template import facts_of
    from spotbatch.pricing.catalogue import catalogue

    found = {(each.rule, each.path) for each in audit(facts_of(template.to_json(), types=catalogue()))}
    assert found == {("nat-hours", "Type")}, "one gateway for all zones: deploy.sh shows its price and asks beforehand"
