"""docs/reference.md is what the code says, and the hand-written pages leave nothing out."""

import importlib.util
import re
from typing import Any

from tests.root import ROOT


def reference() -> str:
    spec = importlib.util.spec_from_file_location("reference_script", ROOT / "scripts/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: str = module.reference()
    return made


def test_the_reference_is_what_the_code_says() -> None:
    written = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert written == reference(), "run: python scripts/reference.py > docs/reference.md"


def test_every_setting_of_the_stack_is_explained() -> None:
    settings = set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", _section("Settings of the stack"), re.MULTILINE))
    explained = (ROOT / "docs/infra.md").read_text(encoding="utf-8")
    assert len(settings) > 30
    assert [name for name in sorted(settings) if f"`{name}`" not in explained] == []


def _section(title: str) -> str:
    written = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    return written.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
