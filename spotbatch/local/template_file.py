"""Reading a template: JSON, or YAML with CloudFormation's short forms (`!Ref`, `!GetAtt a.B`, ...).

CloudFormation's YAML (user guide, "CloudFormation template formats") has no aliases, no merges and no timestamps.
"""

import json
from pathlib import Path
from typing import Any, Final

import yaml

from spotbatch.batch.errors import InvalidInput, NotFound

_ENDINGS: Final = (".json", ".yaml", ".yml", ".template")
_MAX_BYTES: Final = 1 << 20  # CloudFormation's limit for a template (user guide, "quotas")
_PLAIN_TAGS: Final = ("Ref", "Condition")
_HINT: Final = "give a CloudFormation template in JSON or YAML, such as `python app.py` writes below cdk.out"


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation parses it."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types for it
            raise yaml.YAMLError(f"line {event.start_mark.line + 1}: CloudFormation does not take aliases")
        return super().compose_node(parent, index)


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any = None
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in _PLAIN_TAGS else f"Fn::{suffix}": value}


def _unique(loader: _Loader, node: yaml.MappingNode, *, deep: bool = False) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if twice := {str(key) for key in keys if isinstance(key, str) and keys.count(key) > 1}:
        raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {sorted(twice)} is there twice")
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return _unique(loader, node, deep=True)


_Loader.add_multi_constructor("!", _function)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def template_of(content: str, what: str) -> dict[str, Any]:
    """Parse a template from text. Raises InvalidInput; `what` names the text in the message."""
    if len(content) > _MAX_BYTES:
        raise InvalidInput(f"{what} has {len(content)} characters; CloudFormation takes {_MAX_BYTES}")
    try:
        body = json.loads(content) if content.lstrip().startswith("{") else yaml.load(content, _Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise InvalidInput(f"{what} is no YAML that CloudFormation takes: {_one_line(error)}; {_HINT}") from error
    except ValueError as error:
        raise InvalidInput(f"{what} is not JSON ({error}): {_HINT}") from error
    except RecursionError:
        raise InvalidInput(f"{what} is nested too deep") from None
    if not isinstance(body, dict) or not all(isinstance(name, str) for name in body):
        raise InvalidInput(f"{what} is no CloudFormation template: {_HINT}")
    return body


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def read_template(path: Path) -> dict[str, Any]:
    """Read a template file. Raises NotFound or InvalidInput."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"no template {path}: `python app.py` writes it below cdk.out") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 ({error.reason}): {_HINT}") from error
    return template_of(content, str(path))


def stack_name_of(path: Path) -> str:
    """The stack name for a template file: `<stack>.template.json` in `cdk.out`, `<stack>.yaml` elsewhere."""
    name = path.name
    while name.endswith(_ENDINGS) and not name.startswith("."):
        name = name.rpartition(".")[0]
    return name
