"""Every command of the documents is run, as it stands, in a local region; what cannot be run here is named and skipped.

Blocks of a page run in their order in one shell, as somebody would who reads along. A block's first line may say what
it needs beside a region: ```sh aws, ```sh docker, ```sh minutes (run by another target), ```sh by hand, ```sh clients.
"""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.cli_world import IMAGES, STACK, template
from tests.contract.local_api_region import running
from tests.root import ROOT

BLOCK = re.compile(r"^( *)```(?:sh|bash)([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
WHY = {
    "aws": "it needs an AWS account",
    "docker": "it needs a Docker engine and an image",
    "minutes": "it takes minutes: CI runs it by itself",
    "hand": "it needs another machine",
    "clients": "it needs the AWS CLI: `make clients` runs it against a region",
}
SECONDS = 240
NAMED = "spotbatch submit --name train-models -- true"  # the run that docs/dashboard.md names


@dataclass(frozen=True, kw_only=True)
class Block:
    page: str
    number: int
    script: str
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.page}, block {self.number}"


def blocks_of(page: Path) -> list[Block]:
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(page=name, number=number, script=found[3], needs=tuple(word for word in found[2].split() if word != "by"))
        for number, found in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), start=1)
    ]


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
STAYS = "stays"
LEFT_OUT = [block for block in BLOCKS if block.needs and STAYS not in block.needs]
STAYING = [line.split("#")[0].strip() for block in BLOCKS if STAYS in block.needs for line in block.script.splitlines()]


def runnable(page: str) -> list[Block]:
    return [block for block in BLOCKS if block.page == page and not block.needs]


def test_every_mark_of_a_block_is_known() -> None:
    unknown = [f"{block.name}: {word}" for block in BLOCKS for word in block.needs if word not in {*WHY, STAYS}]
    assert unknown == []


@pytest.mark.parametrize("block", LEFT_OUT, ids=lambda block: block.name)
def test_a_block_that_cannot_be_run_here(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{block.name} is no shell: {done.stderr}"
    pytest.skip(f"{block.name}: {'; '.join(WHY[word] for word in block.needs)}")


@contextmanager
def checkout(folder: Path) -> Iterator[Path]:
    """A folder that looks like a fresh clone with its .venv, and where a command may write."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in sorted({line.partition("/")[0] for line in tracked.splitlines()}):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    yield folder


def environment(home: Path, **more: str) -> dict[str, str]:
    """A shell's variables, with the product on PATH and a region's home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
    return {**kept, "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}", "SPOTBATCH_HOME": str(home), **more}


def read_along(blocks: list[Block], folder: Path, home: Path, **more: str) -> None:
    """All blocks in one shell that stops at the first failure and says where it was."""
    lines = ["set -euo pipefail", "trap 'echo \"FAILED in $BLOCK\" >&2' ERR"]
    for block in blocks:
        lines += [f'BLOCK="{block.name}"; echo "== $BLOCK" >&2', block.script]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=folder, env=environment(home, **more), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.timeout(SECONDS + 60)
def test_the_readme_can_be_read_along_on_a_fresh_clone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    clone = tmp_path / "clone"
    clone.mkdir()
    with checkout(clone):
        try:
            read_along(runnable("README.md"), clone, home)
        finally:
            read_along([Block(page="end", number=1, script="spotbatch local down", needs=())], clone, home)


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A region with a stack that has an on-demand queue, and a bucket of somebody's with three objects; its home."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "images.toml").write_text(IMAGES)
    options = ("--boot-seconds", "0.05", "--notice-seconds", "0.5", "--images", str(folder / "images.toml"))
    with running(folder / "home", *options) as region:
        region.admin.load_stack(STACK, with_on_demand_queue())
        s3 = region.client("s3")
        s3.create_bucket(Bucket="my-data")
        for number in range(3):
            s3.put_object(Bucket="my-data", Key=f"raw/object-{number}", Body=b"x" * (number + 1))
        yield folder / "home"


def with_on_demand_queue() -> dict[str, object]:
    """The test stack as the setting on_demand_queue makes it."""
    stack = template()
    resources = stack["Resources"]
    spot = resources["Environment"]["Properties"]["ComputeResources"]
    own = {key: value for key, value in spot.items() if key != "BidPercentage"}
    paid = {**own, "Type": "EC2", "AllocationStrategy": "BEST_FIT_PROGRESSIVE"}
    resources["Paid"] = {
        "Type": "AWS::Batch::ComputeEnvironment",
        "Properties": {"Type": "managed", "State": "ENABLED", "ComputeResources": paid},
    }
    order = [{"ComputeEnvironment": {"Fn::GetAtt": ["Paid", "ComputeEnvironmentArn"]}, "Order": 1}]
    resources["PaidQueue"] = {
        "Type": "AWS::Batch::JobQueue",
        "Properties": {"Priority": 1, "ComputeEnvironmentOrder": order},
    }
    stack["Outputs"]["OnDemandJobQueueName"] = {"Value": {"Ref": "PaidQueue"}}
    return stack


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS if not block.needs} - {"README.md"}))
def test_a_page_can_be_read_along_in_a_region(page: str, region: Path, tmp_path: Path) -> None:
    with checkout(tmp_path):
        read_along(runnable(page), tmp_path, region, SPOTBATCH_LOCAL="1")


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("command", STAYING)
def test_a_page_is_served_until_ctrl_c(command: str, region: Path, tmp_path: Path) -> None:
    with checkout(tmp_path):
        read_along([Block(page="before", number=1, script=NAMED, needs=())], tmp_path, region, SPOTBATCH_LOCAL="1")
        variables = environment(region, SPOTBATCH_LOCAL="1", BROWSER="true", PYTHONUNBUFFERED="1")
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=tmp_path, env=variables, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as served:  # fmt: skip
            try:
                assert served.stdout is not None
                said = next((line for line in served.stdout if "http://" in line), "nothing")
                link = re.search(r"http://127\.0\.0\.1:\d+/\S*", said)
                assert link, said
                browser = urllib.request.build_opener(
                    urllib.request.HTTPCookieProcessor()
                )  # the link's key becomes one
                with browser.open(link[0], timeout=30) as answer:
                    assert "spotbatch" in answer.read().decode()
                served.send_signal(signal.SIGINT)
                assert served.wait(30) in {0, 130}
            finally:
                served.kill()
