"""Output folders that hold more than files: what can be no output is named, and never dropped without a word."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.batch.environment import EXIT_OUTPUTS_REFUSED
from tests.contract.runtime_world import Spot, spot


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Spot]:
    with spot(tmp_path) as made:
        yield made


def in_outputs(text: str) -> tuple[str, str, str]:
    return sys.executable, "-c", f"import os, socket; os.chdir(os.environ['SPOTBATCH_OUTPUT_DIR'])\n{text}"


def marker(world: Spot) -> Path:
    return world.folder / "store/runs/work/job/output.json"


@pytest.mark.parametrize("target", ["nowhere", "/no/such/file", "dangling", "x" * 300])
def test_a_link_that_leads_nowhere_is_refused_by_its_name_before_anything_is_sent(world: Spot, target: str) -> None:
    code, text = world.run(*in_outputs(f"open('good', 'w').write('1'); os.symlink({target!r}, 'dangling')"))
    assert code == EXIT_OUTPUTS_REFUSED
    assert "'dangling'" in text
    assert "Traceback" not in text
    assert not marker(world).exists()
    assert (world.folder / "store/runs/work/job/failed/01/output/good").read_text(encoding="ascii") == "1"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        ("os.mkfifo('odd')", "a named pipe"),
        ("socket.socket(socket.AF_UNIX).bind('odd')", "a socket"),
        ("os.symlink('/dev/null', 'odd')", "a device"),
        ("os.mkdir('folder'); os.symlink('folder', 'odd')", "a link to a folder"),
    ],
)
def test_what_is_no_file_is_logged_by_its_name(world: Spot, make: str, kind: str) -> None:
    code, text = world.run(*in_outputs(f"open('good', 'w').write('1'); {make}"))
    assert code == 0
    assert f"the output 'odd' is {kind}" in text
    assert [file["path"] for file in json.loads(marker(world).read_bytes())["files"]] == ["good"]


def test_a_link_to_a_file_is_an_output_with_the_content_of_the_file(world: Spot) -> None:
    assert world.run(*in_outputs("open('a', 'w').write('1'); os.symlink('a', 'b')"))[0] == 0
    assert (world.folder / "store/runs/work/job/output/b").read_text(encoding="ascii") == "1"


def test_a_failed_attempt_with_a_dangling_link_keeps_its_other_outputs_and_its_exit_code(world: Spot) -> None:
    code, text = world.run(*in_outputs("open('good', 'w').write('1'); os.symlink('no', 'dangling'); os._exit(5)"))
    assert code == 5
    assert "'dangling'" in text
    assert (world.folder / "store/runs/work/job/failed/01/output/good").read_text(encoding="ascii") == "1"
