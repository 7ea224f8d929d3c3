"""docs/security.md lists every role, action and resource with its why; what NIST's pack finds is judged there."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest

from app import CostOptimizedBatchProcessingStack, _context_of_the_project
from spotbatch.infra import StackSettings
from tests.root import ROOT
from tests.unit.infra.test_safety import ALL_ON as SAFETY_ON

from aws_cdk import App, Validations  # isort: skip  # after infra, which chooses its Node
from aws_cdk.assertions import Template  # isort: skip
from cdk_nag import NIST80053R5Checks  # isort: skip

PAGE: Final = ROOT / "docs" / "security.md"
SECRET: Final = "arn:aws:secretsmanager:us-east-1:123456789012:secret:token-AbCdEf"
ALL_ON: Final[dict[str, Any]] = SAFETY_ON | {
    "egress": "nat-instance",
    "container_insights": True,
    "job_secrets": {"TOKEN": SECRET},
}


@lru_cache(maxsize=4)
def resources(settings: str) -> Mapping[str, dict[str, Any]]:
    app = App(context=_context_of_the_project())
    stack = CostOptimizedBatchProcessingStack(app, "TestStack", settings=StackSettings.read(json.loads(settings)))
    found: Mapping[str, dict[str, Any]] = Template.from_stack(stack).to_json()["Resources"]
    return found


def words(value: Any) -> str:
    """A value of the template as the page writes it: resources by their logical id without its hash."""
    if isinstance(value, list):
        return ", ".join(sorted(words(each) for each in value))
    if isinstance(value, str):
        return f"`{value.replace(SECRET, 'job_secrets').replace('TestStack', 'STACK')}`"
    return f"`{joined(value).replace('TestStack', 'STACK')}`"


def joined(value: Any) -> str:
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        return "".join(joined(each) for each in value["Fn::Join"][1])
    name = value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0]
    known = {"AWS::Partition": "aws", "AWS::Region": "REGION", "AWS::AccountId": "ACCOUNT"}
    return known.get(name) or re.sub(r"[0-9A-F]{8}$", "", name)


def condition(statement: Mapping[str, Any]) -> str:
    """`key = value`, whatever the operator."""
    pairs = {key: value for each in statement.get("Condition", {}).values() for key, value in each.items()}
    return ", ".join(f"`{key}` = {words(value)}" for key, value in sorted(pairs.items()))


def trusts(made: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """(role, who may take it, on what condition, AWS's own policies)."""
    for name, each in made.items():
        if each["Type"] == "AWS::IAM::Role":
            assert "Policies" not in each["Properties"], name
            (trust,) = each["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            managed = words(each["Properties"].get("ManagedPolicyArns", []))
            yield words({"Ref": name}), words(trust["Principal"]["Service"]), condition(trust), managed


def permissions(made: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """(role, actions, resources, condition) of each statement of each role."""
    for each in made.values():
        if each["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
            for statement in each["Properties"]["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Allow"
                for role in each["Properties"]["Roles"]:
                    yield words(role), words(statement["Action"]), words(statement["Resource"]), condition(statement)


def table(heading: str) -> list[tuple[str, ...]]:
    """The cells of the table below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines[2:]]


@pytest.mark.parametrize(
    ("heading", "of"), [("Who may take which role", trusts), ("Who may do what", permissions)], ids=["taken", "may"]
)
def test_the_page_lists_what_the_roles_are_and_may_and_nothing_else(heading: str, of: Any) -> None:
    listed = table(heading)
    assert {row[:-1] for row in listed} == set(of(resources(json.dumps(ALL_ON))))
    assert set(of(resources("{}"))) <= {row[:-1] for row in listed}
    assert [row for row in listed if len(row[-1].split()) < 3] == [], "each has its why"


def test_no_role_may_do_everything_and_a_resource_is_left_open_only_where_the_page_says_so() -> None:
    open_ones = set()
    for role, actions, on, _ in permissions(resources(json.dumps(ALL_ON))):
        assert "*" not in actions, (role, actions)
        if on == "`*`":
            open_ones.add(role)
    assert open_ones == {
        *("`AccessExecutionRole`", "`AccessBatchServiceRole`"),
        *("`ControllerRole`", "`FaultInjectionRole`", "`WatchingLookingRole`"),
    }


def nist_findings(settings: Mapping[str, Any], folder: Path) -> set[str]:
    app = App(outdir=str(folder), context=_context_of_the_project())
    CostOptimizedBatchProcessingStack(app, "TestStack", settings=StackSettings.read(settings))
    Validations.of(app).add_plugins(NIST80053R5Checks(app))
    with pytest.raises(Exception, match="NIST") as found:
        app.synth()
    return set(re.findall(r"R5-(\w+)'", str(found.value)))


def test_what_the_nist_pack_finds_is_judged_on_the_page_rule_by_rule(tmp_path: Path) -> None:
    judged = {row[0]: row[-1] for row in table("What the NIST 800-53 R5 pack finds in the default stack")}
    assert set(judged) == nist_findings({}, tmp_path)
    assert all(each.startswith(("stays: ", "setting ")) for each in judged.values())


def test_findings_that_the_page_calls_a_setting_go_with_that_setting(tmp_path: Path) -> None:
    judged = {row[0]: row[-1] for row in table("What the NIST 800-53 R5 pack finds in the default stack")}
    settled = {rule for rule, word in judged.items() if word.startswith("setting ")}
    names = {re.findall(r"`(\w+)`", judged[rule])[0] for rule in settled}
    # The log bucket of access_logs is found for having no log and no key of its own: docs/security.md says so.
    left = nist_findings(dict.fromkeys(names, True), tmp_path)
    assert settled & left <= {"S3BucketLoggingEnabled", "S3DefaultEncryptionKMS"}
