"""docs/reference.md, generated from the code: `python scripts/reference.py > docs/reference.md`; checked by a test."""

import argparse
import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from spotbatch.infra.settings import StackSettings
from spotbatch.local import settings as region_settings

ROOT: Final = Path(__file__).resolve().parents[1]
ENVIRONMENT: Final = ROOT / "spotbatch/batch/environment.py"
_HEAD: Final = """\
# Reference

Made from the code by `python scripts/reference.py > docs/reference.md`; a test compares the two. The command line has a
page of its own: [cli.md](cli.md).
"""


def reference() -> str:
    """The whole page."""
    sections = (
        ("Settings of the stack", "[infra.md](infra.md) says what each is for.", _stack()),
        ("Options of a local region", "`spotbatch local up` takes most of them too.", _region()),
        ("Variables", "What is set for a job, and what you may set: [runtime.md](runtime.md).", _variables()),
        ("Exit codes of the runtime", "Any other code is the command's own.", _exit_codes()),
    )
    return _HEAD + "".join(f"\n## {title}\n\n{lead}\n\n" + "\n".join(rows) + "\n" for title, lead, rows in sections)


def _stack() -> Iterator[str]:
    yield "| setting | default | allowed |\n|---|---|---|"
    schema = StackSettings.model_json_schema()
    for name, field in schema["properties"].items():
        default = field.get("default")
        shown = (
            "" if default is None else f"`{json.dumps(default)}`" if not isinstance(default, str) else f"`{default}`"
        )
        yield f"| `{name}` | {shown} | {_allowed(field, schema.get('$defs', {}))} |"


def _allowed(field: dict[str, Any], named: dict[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "$ref" in field:
        return _allowed(named[field["$ref"].rpartition("/")[2]], named)
    if "anyOf" in field:
        return ", or ".join(_allowed(each, named) for each in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "minimum" in field or "maximum" in field:
        low, high = field.get("minimum"), field.get("maximum")
        return f"{low} to {high}" if high is not None else f"{low} or more"
    if field.get("type") == "array":
        return f"a list: {_allowed(field['items'], named)}" if "items" in field else "a list"
    if "pattern" in field:
        return f"matches `{field['pattern']}`".replace("|", "\\|")
    return {"boolean": "true, false", "null": "nothing", "object": "a table", "string": "text"}.get(field["type"], "")


def _region() -> Iterator[str]:
    yield "| option | meaning |\n|---|---|"
    parser = region_settings._parser()  # noqa: SLF001 - argparse has no public way to list its options
    for action in parser._actions:  # noqa: SLF001
        if not isinstance(action, argparse._HelpAction):  # noqa: SLF001
            choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
            yield f"| `{action.option_strings[-1]}`{choices} | {_help(action)} |"


def _help(action: argparse.Action) -> str:
    default = "the state folder" if action.dest == "home" else action.default
    return (action.help or "") % {"default": default}


def _constants(*, are_numbers: bool) -> Iterator[tuple[str, Any, str]]:
    """(name, value, comment) for each constant in environment.py."""
    source = ENVIRONMENT.read_text(encoding="utf-8")
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.target, ast.Name)
        ):
            value = node.value.value
            if isinstance(value, int) is are_numbers:
                yield node.target.id, value, lines[node.lineno - 1].partition("  # ")[2]


def _variables() -> Iterator[str]:
    yield "| variable | meaning |\n|---|---|"
    for name, value, comment in _constants(are_numbers=False):
        if name == value:
            yield f"| `{value}` | {comment} |"


def _exit_codes() -> Iterator[str]:
    yield "| code | meaning |\n|---|---|"
    for _, value, comment in _constants(are_numbers=True):
        yield f"| {value} | {comment} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
