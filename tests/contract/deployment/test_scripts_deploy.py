"""`spotbatch deploy`, which ./deploy.sh runs: what it checks, what it says, and what it never does unasked."""

import fcntl
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import Denied
from spotbatch.cli.output.idle_cost import show_lines
from tests.contract.deploy_world import STACK, TEMPLATE, Account, answering, compute, small_stack

DEPLOY = ("deploy", "--stack-name", STACK)


class Keyboard(io.StringIO):
    """What somebody types at a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def quotas(**values: float) -> Iterator[str]:
    """A Service Quotas endpoint: moto has no quotas of EC2. What it is not told it answers as AWS does."""

    def answer(request: bytes) -> tuple[int, bytes]:
        code = json.loads(request)["QuotaCode"]
        value = values.get(code.replace("-", "_"))
        if value is None:
            return 400, b'{"__type": "NoSuchResourceException", "Message": "no such quota"}'
        return 200, json.dumps({"Quota": {"QuotaCode": code, "Value": value}}).encode()

    with answering(answer) as endpoint:
        yield endpoint


# ---- the way through ----


def test_a_first_deployment_makes_roles_bootstraps_deploys_and_says_what_is_next(account: Account) -> None:
    said = account.run(*DEPLOY, "--yes")
    assert account.verbs() == ["bootstrap", "deploy"]
    assert account.calls("cdk")[1]["arguments"] == ["deploy", STACK, "--app", "cdk.out", "--require-approval", "never"]
    assert len(account.calls("app")) == 1, "synthesized once"
    assert all(call["templates"] == [f"{STACK}.template.json"] for call in account.calls("cdk"))
    roles = account.client("iam").list_roles(PathPrefix="/aws-service-role/")["Roles"]
    services = {role["Path"].split("/")[2] for role in roles}  # moto names the roles in its own way
    assert {"batch.amazonaws.com", "spot.amazonaws.com"} <= services
    assert "created AWSServiceRoleForBatch" in said.out
    assert "created AWSServiceRoleForEC2Spot" in said.out
    assert said.out.index("small-bucket") < said.out.index("next:") < said.out.index("spotbatch image push")


def test_what_is_there_already_is_not_made_again(account: Account) -> None:
    account.stack()
    account.is_bootstrapped()
    said = account.run(*DEPLOY, "--yes")
    assert account.verbs() == ["deploy"]
    assert f"stack {STACK} exists (CREATE_COMPLETE): it will be updated" in said.out


def test_a_bootstrap_that_is_too_old_is_renewed(account: Account) -> None:
    account.is_bootstrapped(version=5)
    account.run(*DEPLOY, "--yes")
    assert account.verbs() == ["bootstrap", "deploy"]


def test_settings_reach_the_synthesis_on_top_of_those_of_the_project(account: Account) -> None:
    cdk = {"context": {"spotbatch": {"egress": "public", "max_vcpus": 8}}}
    (account.checkout / "cdk.json").write_text(json.dumps(cdk))
    account.run(*DEPLOY, "--dry-run", "--set", "max_vcpus=64", "--set", 'instance_types=["c5"]')
    assert account.calls("app")[0]["settings"] == {"egress": "public", "max_vcpus": 64, "instance_types": ["c5"]}


def test_settings_that_fall_back_because_they_were_not_given_again_are_shown(account: Account) -> None:
    before = {**TEMPLATE, "Metadata": {"spotbatch": {"egress": "public", "max_vcpus": 8, "kms_key": False, "gone": 1}}}
    body = {**small_stack(), "Metadata": before["Metadata"]}
    account.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(body))
    after = {"egress": "nat-gateway", "max_vcpus": 8, "kms_key": True, "new": 1}
    account.will_synthesize({**TEMPLATE, "Metadata": {"spotbatch": after}})
    said = account.run(*DEPLOY, "--dry-run")
    assert "settings that change:\n  egress: public -> nat-gateway\n  kms_key: false -> true\n  (to keep" in said.out
    account.will_synthesize(before)
    assert "settings that change" not in account.run(*DEPLOY, "--dry-run").out


def test_another_range_of_addresses_is_refused_before_cloudformation_fails_with_it(account: Account) -> None:
    body = {**small_stack(), "Metadata": {"spotbatch": {"vpc_cidr": "10.0.0.0/16"}}}
    account.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(body))
    account.will_synthesize({**TEMPLATE, "Metadata": {"spotbatch": {"vpc_cidr": "10.1.0.0/16"}}})
    said = account.run(*DEPLOY, "--yes", code=2)
    assert "vpc_cidr is '10.0.0.0/16' in the live stack and cannot become '10.1.0.0/16'" in said.err
    assert "--set vpc_cidr=10.0.0.0/16" in said.err
    assert account.calls("cdk") == []


def test_a_queue_that_goes_with_an_update_is_warned_of_if_it_has_jobs(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spotbatch.aws import teardown

    body = small_stack()
    body["Outputs"]["OnDemandJobQueueName"] = {"Value": "dear"}
    account.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(body))
    monkeypatch.setattr(teardown, "open_jobs", {"queue": ["a", "b"], "dear": ["c"]}.__getitem__)
    account.will_synthesize({**TEMPLATE, "Outputs": {"JobQueueName": {}}})
    said = account.run(*DEPLOY, "--dry-run")
    assert "warning: this update removes the queue dear and ends its 1 job" in said.out
    assert "note: 2 jobs running or waiting" in said.out
    account.will_synthesize({**TEMPLATE, "Outputs": {"JobQueueName": {}, "OnDemandJobQueueName": {}}})
    said = account.run(*DEPLOY, "--dry-run")
    assert "this update removes the queue" not in said.out
    assert "note: 3 jobs running or waiting" in said.out


def test_a_deployment_whose_image_nobody_pushed_keeps_the_pushed_one(account: Account) -> None:
    account.stack()
    uri = small_stack()["Outputs"]["ECRRepositoryURI"]["Value"]
    by_digest = f"{uri}@{account.push('small-images', 'mine')}"
    batch = account.client("batch")
    for each in (f"{uri}:latest", by_digest, f"{uri}:latest"):
        container = {"image": each, "vcpus": 1, "memory": 128}
        batch.register_job_definition(jobDefinitionName="definition", type="container", containerProperties=container)
    said = account.run(*DEPLOY, "--yes")
    assert f"definition:4 keeps the image that was pushed last, {by_digest}" in said.out
    assert "keeps the image" not in account.run(*DEPLOY, "--yes").out, "nothing to mend any more"


def test_a_new_image_tag_is_what_its_owner_wants_pushed_or_not(account: Account) -> None:
    def made_with(tag: str) -> dict[str, object]:
        return {"Metadata": {"spotbatch": {"image_tag": tag}}}

    account.client("cloudformation").create_stack(
        StackName=STACK, TemplateBody=json.dumps({**small_stack(), **made_with("v1")})
    )
    uri = small_stack()["Outputs"]["ECRRepositoryURI"]["Value"]
    by_digest = f"{uri}@{account.push('small-images', 'v1')}"
    for each in (by_digest, f"{uri}:v2"):
        container = {"image": each, "vcpus": 1, "memory": 128}
        account.client("batch").register_job_definition(
            jobDefinitionName="definition", type="container", containerProperties=container
        )
    account.will_synthesize({**TEMPLATE, **made_with("v2")})
    said = account.run(*DEPLOY, "--yes")
    assert f"note: {uri}:v2 does not exist yet: push it" in said.out
    assert "keeps the image" not in said.out
    account.will_synthesize({**TEMPLATE, **made_with("v1")})
    assert "not there yet" not in account.run(*DEPLOY, "--yes").out


def test_region_and_profile_hold_for_every_program_and_in_the_commands_to_type_next(
    account: Account, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("[other]\naws_access_key_id = others\naws_secret_access_key = secret\n")
    options = ("--yes", "--profile", "other", "--region", "eu-west-1")
    said = account.run(*DEPLOY, *options, AWS_SHARED_CREDENTIALS_FILE=str(credentials))
    assert "region eu-west-1" in said.out
    assert all(
        call["environment"] == {"AWS_PROFILE": "other", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": None}
        for call in account.calls("cdk")
    )
    names = [each["StackName"] for each in account.client("cloudformation", "eu-west-1").describe_stacks()["Stacks"]]
    assert names == [STACK]
    assert f"--stack {STACK} --profile other --region eu-west-1" in said.out


def test_a_dry_run_shows_cost_and_plan_and_changes_nothing(account: Account) -> None:
    said = account.run("deploy", "--dry-run")
    assert "account 123456789012, region us-east-1, stack CostOptimizedBatchProcessing" in said.out
    assert "create the service-linked role AWSServiceRoleForBatch" in said.out
    assert "bootstrap the CDK" in said.out
    assert "create the stack CostOptimizedBatchProcessing" in said.out
    assert account.calls("cdk") == []
    assert account.client("cloudformation").describe_stacks()["Stacks"] == []
    assert account.client("iam").list_roles(PathPrefix="/aws-service-role/")["Roles"] == []


def test_the_idle_cost_is_line_for_line_that_of_the_estimate(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    alarms = {f"Alarm{at}": {"Type": "AWS::CloudWatch::Alarm", "Properties": {}} for at in range(3)}
    minimum = {"Kept": compute("SPOT", 16, "c5", minimum=4)}
    account.will_synthesize({"Resources": {**TEMPLATE["Resources"], **alarms, **minimum}})
    deployed = account.run("deploy", "--dry-run").out
    estimated = account.run("estimate", "--idle").out
    show_lines(json.loads((account.checkout / "cdk.out" / "CostOptimizedBatchProcessing.template.json").read_text()))
    table = capsys.readouterr().out
    assert "NAT gateway" in table
    assert "33.15 USD" in table  # 730 h of 0.045 USD, and three alarms of 0.10 USD
    assert "hosts of 4 vCPUs" in table
    assert table in deployed
    assert table in estimated
    assert "about 33.15 USD a month" in deployed


def test_nobody_there_to_ask_means_no_deployment_without_yes(account: Account) -> None:
    said = account.run("deploy", code=2)
    assert "--yes" in said.err
    assert account.calls("cdk") == []


# ---- zones ----


def subnets(*zones: str) -> dict[str, object]:
    kind = "AWS::EC2::Subnet"
    return {f"Subnet{zone}": {"Type": kind, "Properties": {"AvailabilityZone": zone}} for zone in zones}


def test_zones_in_which_nothing_new_starts_come_last_since_the_first_gets_the_nat_gateway(account: Account) -> None:
    offers = account.client("ec2").describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["m5.large"]}]
    )
    [constrained] = {f"us-east-1{letter}" for letter in "abcdef"} - {
        each["Location"] for each in offers["InstanceTypeOfferings"]
    }
    said = account.run(*DEPLOY, "--dry-run")
    assert "synthesizing for 6 zones (us-east-1a," in said.out
    assert f", {constrained}) ..." in said.out


def test_the_zones_of_a_stack_that_is_there_stay_where_they_are_and_new_ones_come_after(account: Account) -> None:
    body = small_stack()
    there = subnets("us-east-1d", "us-east-1z", "us-east-1b")  # z is impaired today: EC2 does not list it
    body["Resources"] = {**body["Resources"], **there}
    account.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(small_stack()))
    account.has_status("CREATE_COMPLETE").template = json.dumps(body)
    said = account.run(*DEPLOY, "--dry-run")
    wanted = "us-east-1d, us-east-1z, us-east-1b, us-east-1a, us-east-1c, us-east-1e, us-east-1f"
    assert f"synthesizing for 7 zones ({wanted})" in said.out


def test_zones_are_taken_by_their_names_where_aws_does_not_tell_what_they_offer(account: Account) -> None:
    with answering(lambda asked: _refuse_offerings(account, asked)) as ec2:
        said = account.run(*DEPLOY, "--dry-run", AWS_ENDPOINT_URL_EC2=ec2)
    assert "(us-east-1a, us-east-1b, us-east-1c)" in said.out


def _refuse_offerings(account: Account, asked: bytes) -> tuple[int, bytes]:
    if b"Action=DescribeAvailabilityZones" not in asked:
        return 403, b"<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>"
    zones = "".join(f"<item><zoneName>{account.region}{letter}</zoneName></item>" for letter in "cab")
    return 200, f"<R><availabilityZoneInfo>{zones}</availabilityZoneInfo></R>".encode()


# ---- what stands in the way, and the way out ----


@pytest.mark.parametrize("name", ["my_stack", "1st", "", "a" * 129])
def test_a_name_that_no_stack_can_have_is_refused_at_once(account: Account, name: str) -> None:
    said = account.run("deploy", "--stack-name", name, code=2)
    assert f"--stack-name {name!r} is no name of a stack" in said.err
    assert account.calls("app") == []


def test_no_credentials(account: Account) -> None:
    said = account.run(*DEPLOY, code=4, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert "there are no AWS credentials" in said.err
    assert "aws configure" in said.err
    assert account.calls("app") == []


def test_a_profile_that_there_is_not(account: Account) -> None:
    said = account.run(*DEPLOY, "--profile", "nobody", code=2)
    assert "nobody" in said.err
    assert "aws configure list-profiles" in said.err


@pytest.mark.parametrize(
    ("region", "words"), [("eu-wst-1", "did you mean eu-west-1"), ("nowhere", "give one such as us-east-1")]
)
def test_a_region_that_there_is_not(account: Account, region: str, words: str) -> None:
    said = account.run(*DEPLOY, "--region", region, code=2)
    assert f"there is no AWS region {region!r}" in said.err
    assert words in said.err


def test_no_region_at_all(account: Account) -> None:
    said = replace(account, region="").run(*DEPLOY, code=2)
    assert "give --region" in said.err


def test_a_region_that_is_not_enabled_is_told_from_wrong_credentials(account: Account) -> None:
    said = "The security token included in the request is invalid"
    body = f"<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>{said}</Message></Error></ErrorResponse>"
    with answering(lambda _: (403, body.encode())) as sts:
        elsewhere = account.run(*DEPLOY, "--region", "me-south-1", code=4, AWS_ENDPOINT_URL_STS=sts)
        here = account.run(*DEPLOY, code=4, AWS_ENDPOINT_URL_STS=sts)
    assert "aws account enable-region --region-name me-south-1" in elsewhere.err
    assert "does not accept these credentials" in here.err
    assert "enable-region" not in here.err


@pytest.mark.parametrize(
    ("answers", "code", "said_last", "made"),
    [
        ("n", 1, "", []),
        ("yn", 4, "without AWSServiceRoleForBatch no Spot instance can start", []),
        ("yyn", 4, "without AWSServiceRoleForEC2Spot no Spot instance can start", ["batch"]),
        ("yyyn", 4, "`cdk bootstrap aws://123456789012/us-east-1`", ["batch", "spot"]),
        ("yyyy", 0, "", ["batch", "spot"]),
    ],
)
def test_each_step_is_asked_for_and_a_no_ends_there(
    account: Account, monkeypatch: pytest.MonkeyPatch, answers: str, code: int, said_last: str, made: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("\n".join(answers) + "\n"))
    said = account.run(*DEPLOY, "--set", "egress=public", code=code)
    assert said_last in said.err
    roles = account.client("iam").list_roles(PathPrefix="/aws-service-role/")["Roles"]
    assert sorted(role["Path"].split("/")[2].partition(".")[0] for role in roles) == made
    assert account.verbs() == (["bootstrap", "deploy"] if code == 0 else [])


def test_no_docker_is_a_note_and_no_obstacle(account: Account) -> None:
    account.has_program("docker", "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    said = account.run(*DEPLOY, "--yes")
    assert "note: no Docker engine answers (Cannot connect to the Docker daemon)" in said.out
    assert "`spotbatch image push` needs it" in said.out
    assert "deploy" in account.verbs()


def test_a_quota_below_what_the_stack_asks_for_is_warned_of_for_each_class(account: Account) -> None:
    more = {"Fallback": compute("EC2", 64, "c5.large"), "Gpus": compute("SPOT", 32, "g5.xlarge")}
    account.will_synthesize({"Resources": {**TEMPLATE["Resources"], **more}})
    with quotas(L_34B43A08=5.0, L_1216C47A=64.0, L_3819A6DF=0.0) as endpoint:
        said = account.run(*DEPLOY, "--dry-run", "--region", "us-east-1", AWS_ENDPOINT_URL_SERVICE_QUOTAS=endpoint)
    assert said.out.count("warning:") == 2
    assert "may run 5 vCPUs at once of the quota 'All Standard (A, C, D, H, I, M, R, T, Z) Spot" in said.out
    assert "up to 256. It works, with 5 at most" in said.out
    assert "up to 32. It deploys, but no job can start there" in said.out
    assert "--quota-code L-34B43A08 --desired-value 256 --region us-east-1" in said.out
    assert "--quota-code L-3819A6DF --desired-value 32" in said.out
    assert "L-1216C47A" not in said.out, "64 vCPUs on demand are enough"


def test_a_quota_that_aws_does_not_tell_is_no_obstacle(account: Account) -> None:
    with quotas() as endpoint:
        said = account.run(*DEPLOY, "--dry-run", AWS_ENDPOINT_URL_SERVICE_QUOTAS=endpoint)
    assert "warning:" not in said.out


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"])
def test_a_stack_that_can_only_be_removed_says_why_it_failed_and_which_command_removes_it(
    account: Account, status: str
) -> None:
    account.stack()
    stack = account.has_status(status)
    stack._add_stack_event("CREATE_FAILED", "the address limit is reached")
    said = account.run(*DEPLOY, "--yes", code=4)
    assert f"{STACK} is {status}" in said.err
    assert "the address limit is reached" in said.err
    assert f"./cleanup.sh --stack-name {STACK}" in said.err
    assert account.calls("app") == []


def test_an_update_that_could_not_be_rolled_back_names_the_command_that_goes_on(account: Account) -> None:
    account.stack()
    account.has_status("UPDATE_ROLLBACK_FAILED")
    said = account.run(*DEPLOY, "--yes", "--region", "us-east-1", code=4)
    assert "UPDATE_ROLLBACK_FAILED" in said.err
    assert f"continue-update-rollback --stack-name {STACK} --region us-east-1" in said.err


def test_somebody_elses_stack_of_this_name_is_never_replaced(account: Account) -> None:
    body = {"Resources": {"Precious": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "precious"}}}}
    account.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(body))
    said = account.run(*DEPLOY, "--yes", code=2)
    assert f"the stack {STACK} exists and was not made by deploy.sh" in said.err
    assert account.calls("cdk") == []


def test_a_stack_that_something_changes_is_waited_for(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation goes on when the command is interrupted: the next one waits, and then deploys."""
    from spotbatch.aws import stacks

    account.stack()
    account.has_status("UPDATE_IN_PROGRESS")

    def pauses(_: float) -> Iterator[float]:
        yield 0.0
        account.has_status("UPDATE_COMPLETE")
        yield 1.0

    monkeypatch.setattr(stacks, "pauses", pauses)
    said = account.run(*DEPLOY, "--yes")
    assert f"stack {STACK} is UPDATE_IN_PROGRESS: waiting" in said.out
    assert account.verbs()[-1] == "deploy"


def test_a_stack_that_changes_for_too_long_is_given_up_on(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    from spotbatch.aws import stacks

    account.stack()
    account.has_status("UPDATE_IN_PROGRESS")
    monkeypatch.setattr(stacks, "pauses", lambda _: iter([0.0]))
    said = account.run(*DEPLOY, "--yes", code=4)
    assert "still UPDATE_IN_PROGRESS" in said.err
    assert account.calls("cdk") == []


def test_an_empty_stack_of_an_interrupted_deployment_is_removed_and_made_anew(account: Account) -> None:
    account.client("cloudformation").create_change_set(
        StackName=STACK, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=json.dumps({"Resources": {}})
    )
    account.has_status("REVIEW_IN_PROGRESS")
    dry = account.run(*DEPLOY, "--dry-run")
    assert "the empty stack is removed first" in dry.out
    said = account.run(*DEPLOY, "--yes")
    assert "next:" in said.out
    [stack] = account.client("cloudformation").describe_stacks()["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"


def test_a_cdk_of_another_major_version_is_refused(account: Account) -> None:
    said = account.run(*DEPLOY, "--yes", code=2, STANDIN_CDK_VERSION="3.0.0 (build 1)")
    assert "3.0.0" in said.err
    assert "npm install" in said.err


def test_no_cdk(account: Account, tmp_path: Path) -> None:
    said = account.run(*DEPLOY, "--yes", code=3, PATH=str(tmp_path))
    assert "npm install" in said.err


def test_a_failing_cdk_is_passed_on_with_the_command_to_run_again(account: Account) -> None:
    said = account.run(*DEPLOY, "--yes", "--region", "us-east-1", code=4, STANDIN_CDK_EXIT="1")
    assert "`cdk bootstrap` ended with exit code 1" in said.err
    assert f"./deploy.sh --region us-east-1 --stack-name {STACK}" in said.err


def test_two_deployments_from_one_checkout_do_not_mix(account: Account) -> None:
    with (account.checkout / "cdk.json").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        said = account.run(*DEPLOY, "--yes", code=4)
    assert "another deployment runs from" in said.err
    assert account.calls("app") == []
    account.run(*DEPLOY, "--dry-run")


def test_a_failing_synthesis_stops_everything(account: Account) -> None:
    (account.checkout / "app.py").write_text("raise SystemExit(2)")
    said = account.run(*DEPLOY, "--yes", code=2)
    assert "app.py could not be synthesized" in said.err
    assert account.calls("cdk") == []


@pytest.mark.parametrize("given", ["max_vcpus", "=64"])
def test_a_setting_without_key_or_value(account: Account, given: str) -> None:
    said = account.run(*DEPLOY, "--set", given, code=2)
    assert given in said.err
    assert "KEY=VALUE" in said.err


def test_a_folder_without_the_project_is_no_place_to_deploy_from(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spotbatch.deployment import cdk

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cdk, "__file__", str(tmp_path / "a" / "b" / "c.py"))  # as an installed package
    said = account.run(*DEPLOY, code=3)
    assert "a checkout of spotbatch" in said.err


# ---- the way out of the network ----

EGRESS_TABLE = ("nat-gateway", "36.50 USD", "nat-instance", "public", "0.00 USD")


def cdk_json(account: Account) -> Any:
    return json.loads((account.checkout / "cdk.json").read_text(encoding="utf-8"))


def test_a_first_deployment_asks_once_how_hosts_get_out_with_the_prices_and_cdk_json_remembers_it(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.is_bootstrapped()
    monkeypatch.setattr("sys.stdin", Keyboard("public\ny\ny\ny\n"))
    said = account.run(*DEPLOY)
    assert all(words in said.out for words in EGRESS_TABLE)
    assert "cdk.json remembers it" in said.out
    assert cdk_json(account)["context"]["spotbatch"]["egress"] == "public"
    account.client("cloudformation").delete_stack(StackName=STACK)
    assert "36.50 USD" not in account.run(*DEPLOY, "--dry-run").out, "asked once"


@pytest.mark.parametrize("more", [("--yes",), ("--dry-run",)])
def test_nobody_is_asked_in_a_script_but_the_choices_are_shown(account: Account, more: tuple[str, ...]) -> None:
    before = cdk_json(account)
    said = account.run(*DEPLOY, *more)
    assert all(words in said.out for words in EGRESS_TABLE)
    assert "nat-gateway is taken; another one with --set egress=NAME" in said.out
    assert cdk_json(account) == before


def test_who_says_it_on_the_command_line_sees_no_choices(account: Account) -> None:
    assert "36.50 USD" not in account.run(*DEPLOY, "--dry-run", "--set", "egress=public").out


# ---- what may not be looked at ----


def test_optional_checks_that_are_refused_are_notes(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise Denied("GetRole was refused: no")

    monkeypatch.setattr("spotbatch.aws.preflight.missing_service_roles", refused)
    monkeypatch.setattr("spotbatch.aws.preflight.bootstrap_version", refused)
    said = account.run(*DEPLOY, "--yes")
    assert "note: whether the account has the roles of AWS Batch and Spot is unknown: GetRole was refused" in said.out
    assert "note: whether the CDK is bootstrapped here is unknown" in said.out
    assert account.verbs() == ["deploy"]


def test_a_region_of_a_partition_that_does_not_work_is_refused_before_anything_is_synthesized(account: Account) -> None:
    said = replace(account, region="cn-north-1").run(*DEPLOY, "--yes", code=2)
    assert "cn-north-1 is not supported" in said.err
    assert account.calls("app") == []
