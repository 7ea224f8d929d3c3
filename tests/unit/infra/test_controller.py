"""The controller in the template: what it may do, what calls it, what it costs while idle, and its code."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app import CostOptimizedBatchProcessingStack, _context_of_the_project
from spotbatch.controller.resources import HANDLER
from spotbatch.infra import StackSettings
from spotbatch.infra.controller import stage
from spotbatch.local import controller_stack
from spotbatch.pricing.footprint import footprint
from spotbatch.pricing.units import idle_cost, total

from aws_cdk import App  # isort: skip  # after infra, which chooses its Node

Template = dict[str, Any]


def template(folder: Path, **settings: object) -> Template:
    app = App(outdir=str(folder), context=_context_of_the_project())
    CostOptimizedBatchProcessingStack(app, "TestStack", settings=StackSettings.read(settings))
    app.synth()
    found: Template = json.loads((folder / "TestStack.template.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return template(tmp_path_factory.mktemp("out"), controller=True, on_demand_queue=True, monitoring=False)


def of_type(found: Template, kind: str) -> list[Any]:
    return [each["Properties"] for each in found["Resources"].values() if each["Type"] == kind]


def test_the_controller_costs_nothing_while_idle(controlled: Template, tmp_path: Path) -> None:
    without = template(tmp_path, on_demand_queue=True, monitoring=False)
    assert total(idle_cost(footprint(controlled))) == total(idle_cost(footprint(without)))
    lines = {line.item: line.usd for line in idle_cost(footprint(controlled))}
    assert {lines[item] for item in ("waiting_function", "table", "dead_letter_queue")} == {Decimal(0)}


def test_its_schedule_is_off_until_a_run_is_under_control(controlled: Template) -> None:
    rules = {str(rule.get("ScheduleExpression", "pattern")): rule for rule in of_type(controlled, "AWS::Events::Rule")}
    assert rules["rate(1 minute)"]["State"] == "DISABLED"
    assert rules["pattern"]["EventPattern"]["detail"]["status"] == ["FAILED"]
    assert len(rules["pattern"]["EventPattern"]["detail"]["jobQueue"]) == 2


def test_the_local_regions_own_controller_is_this_one(controlled: Template) -> None:
    """The same table, times and events; its function is the installed package instead of an archive of it."""
    own = controller_stack.template()
    [table], [its_table] = (of_type(each, "AWS::DynamoDB::Table") for each in (controlled, own))
    assert its_table == {name: table[name] for name in its_table}
    [function], [its_function] = (of_type(each, "AWS::Lambda::Function") for each in (controlled, own))
    assert all(its_function[name] == function[name] for name in ("Timeout", "MemorySize"))
    assert set(its_function["Environment"]["Variables"]) == set(function["Environment"]["Variables"])
    rules, its_rules = (of_type(each, "AWS::Events::Rule") for each in (controlled, own))
    for rule in rules:
        rule.get("EventPattern", {}).get("detail", {}).pop("jobQueue", None)  # every queue of the local region

    def kinds(some: list[Any]) -> set[str]:
        members = ("ScheduleExpression", "EventPattern", "State")
        return {json.dumps({member: one.get(member) for member in members}, sort_keys=True) for one in some}

    assert kinds(rules) == kinds(its_rules)


def test_it_writes_nowhere_but_where_its_runs_are(controlled: Template) -> None:
    [function] = of_type(controlled, "AWS::Lambda::Function")
    assert function["Timeout"] < 60  # a submission that nobody heard of is looked for after a minute
    policies = [
        each
        for each in of_type(controlled, "AWS::IAM::Policy")
        if any(one.get("Sid") == "Submit" for one in each["PolicyDocument"]["Statement"])
    ]
    [policy] = policies
    everywhere = [one for one in policy["PolicyDocument"]["Statement"] if one["Resource"] == "*"]
    assert [one["Action"] for one in everywhere] == [["batch:DescribeJobs", "batch:ListJobs"]]


def test_what_is_sent_along_is_all_that_the_handler_needs(tmp_path: Path) -> None:
    """Under Lambda's Python there is boto3, and nothing else of what this project needs."""
    stage(tmp_path)
    module, _, name = HANDLER.rpartition(".")
    program = (
        "import sys, importlib, importlib.abc\n"
        "class Only(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        top = name.partition('.')[0]\n"
        "        known = {'spotbatch', 'boto3', 'botocore', 's3transfer', 'jmespath', 'dateutil', 'six', 'urllib3'}\n"
        "        if top not in known and top not in sys.stdlib_module_names and not top.startswith('_'):\n"
        "            raise ImportError(f'{name} is not in Lambda')\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "sys.meta_path.insert(0, Only())\n"
        f"module = importlib.import_module({module!r})\n"
        f"assert module.__file__.startswith({str(tmp_path)!r}), module.__file__\n"
        "import boto3\n"
        f"assert callable(module.{name})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
