"""What the stack costs in a month in which nothing runs: for `spotbatch estimate --idle` and before a deployment."""

import json as stdlib_json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.cli.output import json, text

_TEMPLATES: Final = "cdk.out/*.template.json"


def show_idle(template: Path | None, *, as_json: bool) -> None:
    """Count what a synthesized template would keep alive, and price it."""
    from spotbatch.pricing.footprint import footprint, minimum_vcpus
    from spotbatch.pricing.units import HOURS_A_MONTH, PROVENANCE, idle_cost, total

    path = template or _synthesized()
    document = _read(path)
    if as_json:
        lines = idle_cost(footprint(document))
        return json.write(
            {
                "template": path,
                "usd_per_month": total(lines),
                "lines": lines,
                "minimum_vcpus": minimum_vcpus(document),
                "source": PROVENANCE,
            }
        )
    show_lines(document)
    text.say(f"- {path}; a month of {HOURS_A_MONTH} h; {PROVENANCE}; storage and logs grow with use, and are not in it")
    return None


def show_lines(document: Mapping[str, Any]) -> Decimal:
    """Show what a template keeps alive, before a deployment and on request alike; the sum, USD a month."""
    from spotbatch.pricing.footprint import footprint, minimum_vcpus
    from spotbatch.pricing.units import idle_cost, total

    lines = idle_cost(footprint(document))
    rows = [[one.description, f"{one.quantity:g} {one.unit}", f"{one.usd:,.2f} USD"] for one in lines]
    text.table(["while idle", "", "a month"], [*rows, ["sum", "", f"{total(lines):,.2f} USD"]], right=(2,))
    if kept := minimum_vcpus(document):
        text.say(f"- not in the sum: hosts of {kept} vCPUs, which the environments' minimum keeps running")
    return total(lines)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = stdlib_json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"there is no template {path}: `python app.py` synthesizes it") from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is no template in JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise InvalidInput(f"{path} is no CloudFormation template: it has no Resources")
    return document


def _synthesized() -> Path:
    """The newest template in cdk.out. Raises NotFound if there is none."""
    found = sorted(Path().glob(_TEMPLATES), key=lambda one: one.stat().st_mtime)
    if not found:
        raise NotFound("there is no synthesized template in cdk.out: run `python app.py`, or give --template FILE")
    return found[-1]
