"""Findings as SARIF 2.1.0, which code reviews show next to the lines (GitHub's upload-sarif)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from spotbatch.audit.finding import Finding

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_of(found: Sequence[Finding], *, file: str, lines: Mapping[str, int], version: str) -> dict[str, Any]:
    """The log of one run. `lines`: the line of the file on which each resource begins."""
    rules = {each.rule: each for each in found}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "spotbatch audit",
                        "version": version,
                        "informationUri": "https://github.com/spotbatch/spotbatch",
                        "rules": [
                            {"id": name, "shortDescription": {"text": one.risk}, "helpUri": one.source}
                            for name, one in rules.items()
                        ],
                    }
                },
                "results": [_result(each, list(rules).index(each.rule), file, lines) for each in found],
            }
        ],
    }


def _result(found: Finding, rule_index: int, file: str, lines: Mapping[str, int]) -> dict[str, Any]:
    where = f"{found.resource}.{found.path}"
    return {
        "ruleId": found.rule,
        "ruleIndex": rule_index,
        "level": found.level.value,
        "message": {"text": f"{found.evidence}. Risk: {found.risk}. Fix: {found.fix}. {found.source}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": file},
                    "region": {"startLine": lines.get(found.resource, 1)},
                },
                "logicalLocations": [{"fullyQualifiedName": where}],
            }
        ],
    }
