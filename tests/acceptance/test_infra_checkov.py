"""checkov, in an environment of its own, over the synthesized stack: nothing but what .checkov.yaml judges."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.local_clients import INSTALL_SECONDS, ROOT, environment

pytestmark = [pytest.mark.clients, pytest.mark.timeout(INSTALL_SECONDS + 300)]
HARDENED = {
    "access_logs": True,
    "flow_logs": True,
    "kms_key": True,
    "immutable_tags": True,
    "image_tag": "v1",
    "on_demand_fallback": True,
    "on_demand_queue": True,
    "fault_injection": True,
    "controller": True,
    "container_insights": True,
    "alarm_email": "a@example.com",
    "monthly_budget_usd": 100,
}


def template(folder: Path, settings: dict[str, Any]) -> Path:
    environ = {**os.environ, "CDK_OUTDIR": str(folder), "CDK_CONTEXT_JSON": json.dumps({"spotbatch": settings})}
    subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=environ, check=True, timeout=120)
    return next(folder.glob("*.template.json"))


def checked(file: Path, home: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    binaries = environment("checkov==3.3.30")
    return subprocess.run(
        [str(binaries / "checkov"), "--file", str(file), *options],
        cwd=file.parent, env={"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"egress": "nat-instance"}, {"egress": "public"}, HARDENED], ids=str)
def test_checkov_finds_nothing_that_is_not_judged(settings: dict[str, Any], tmp_path: Path) -> None:
    done = checked(template(tmp_path / "out", settings), tmp_path, "--config-file", str(ROOT / ".checkov.yaml"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_checkov_does_look(tmp_path: Path) -> None:
    """Without the judgements it finds what they are about."""
    file = template(tmp_path / "out", {})
    done = checked(file, tmp_path, "--framework", "cloudformation", "--compact", "--quiet", "--skip-download")
    assert done.returncode == 1
    assert "CKV_AWS_136" in done.stdout
