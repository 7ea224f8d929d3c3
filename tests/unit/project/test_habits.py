"""What people expect of a project that they pick up holds together: workflows, hooks, versions, lists of packages."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import spotbatch
from tests.root import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def commands(workflow: Path) -> list[str]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_each_make_target_of_a_workflow_is_there(workflow: Path) -> None:
    named = [
        target
        for line in commands(workflow)
        for call in re.findall(r"\bmake ([a-z -]+)", line)
        for target in call.split()
    ]
    assert named
    assert set(named) <= TARGETS


def test_ci_tries_each_python_that_the_project_names() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    named = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_pre_commit_runs_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    check = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ncheck:")[2].partition("\n\n")[0]
    ran = [line.removeprefix("\t@$(BIN)/").removesuffix(" $(SOURCES)") for line in check.splitlines()[1:]]
    assert [hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude") for hook in hooks] == ran


def test_the_version_is_one_and_has_its_section_in_the_changelog() -> None:
    assert PROJECT["version"] == spotbatch.__version__
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = [each for each in sections if each != "Unreleased"]
    assert sections[len(released) - len(sections) :] == released  # what is not released comes first
    assert re.fullmatch(re.escape(spotbatch.__version__) + r" \((unreleased|20\d\d-\d\d-\d\d)\)", released[0])


def test_the_list_for_the_demo_is_part_of_the_whole_list_at_the_same_versions() -> None:
    def pinned(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return {line.partition(" ")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}

    assert pinned("requirements-demo.txt") < pinned("requirements.txt")
    assert not {
        line for line in pinned("requirements-demo.txt") if line.startswith(("pytest", "mypy=", "sphinx", "ruff"))
    }
