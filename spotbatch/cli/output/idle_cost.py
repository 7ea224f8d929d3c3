"""What the stack costs per month while idle: for `spotbatch estimate --idle` and before a deployment."""

import json as stdlib_json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.cli.output import json, text

_TEMPLATES: Final = "cdk.out/*.template.json"


def show_idle(template: Path | None, *, against: str | None = None, as_json: bool) -> None:
    """Count what a synthesized template would keep alive, and price it; with what changes against a live stack.

    `against` is another template's file, or the name of a deployed stack.
    """
    from spotbatch.pricing.footprint import custom_metrics, footprint, minimum_vcpus
    from spotbatch.pricing.units import HOURS_A_MONTH, PROVENANCE, free_tier, idle_cost, total

    path = template or _synthesized()
    document = _read(path)
    before = _live(against) if against else None
    if as_json:
        lines = idle_cost(footprint(document))
        compared = {"changes": changes(before, document)} if before is not None else {}
        return json.write(
            {
                "template": path,
                "usd_per_month": total(lines),
                "lines": lines,
                "free_tier_usd_per_month": free_tier(lines),
                "custom_metrics": custom_metrics(document),
                "minimum_vcpus": minimum_vcpus(document),
                "source": PROVENANCE,
                **compared,
            }
        )
    show_lines(document)
    if before is not None:
        _show_changes(against or "", changes(before, document))
    text.say(f"- {path}; a month of {HOURS_A_MONTH} h; {PROVENANCE}; storage and logs grow with use, and are not in it")
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One item of two templates: the number before and after, and the effect per month."""

    item: str
    description: str
    before: Decimal
    after: Decimal
    usd_per_month: Decimal  # more, or less


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What changes in the idle cost from one template to another, most expensive first, without unchanged items."""
    from spotbatch.pricing.footprint import footprint
    from spotbatch.pricing.units import idle_cost

    old, new = ({one.item: one for one in idle_cost(footprint(each))} for each in (before, after))
    found = []
    for item in old.keys() | new.keys():
        counts = [lines[item].quantity if item in lines else Decimal(0) for lines in (old, new)]
        usd = [lines[item].usd if item in lines else Decimal(0) for lines in (old, new)]
        if counts[0] != counts[1]:
            words = (new.get(item) or old[item]).description
            found.append(
                Change(item=item, description=words, before=counts[0], after=counts[1], usd_per_month=usd[1] - usd[0])
            )
    return sorted(found, key=lambda each: (-abs(each.usd_per_month), each.item))


def _show_changes(against: str, found: Sequence[Change]) -> None:
    text.say()
    if not found:
        return text.say(f"nothing that costs while idle changes against {against}")
    rows = [
        [each.description, f"{each.before:g} -> {each.after:g}", f"{each.usd_per_month:+,.2f} USD"] for each in found
    ]
    more = sum((each.usd_per_month for each in found), Decimal(0))
    text.table([f"against {against}", "", "a month"], [*rows, ["sum", "", f"{more:+,.2f} USD"]], right=(2,))
    return None


def _live(against: str) -> Mapping[str, Any]:
    """Another template's file, or that of a deployed stack. Raises NotFound."""
    if Path(against).is_file():
        return _read(Path(against))
    from spotbatch.aws import stacks

    stack = stacks.find(against)
    if stack is None:
        raise NotFound(f"there is no file and no deployed stack {against}: `spotbatch deploy` makes the stack")
    return stacks.template(stack.stack_id)


def show_lines(document: Mapping[str, Any]) -> Decimal:
    """Show what a template keeps alive, before a deployment and on request alike; the sum, USD a month."""
    from spotbatch.pricing.footprint import custom_metrics, footprint, minimum_vcpus
    from spotbatch.pricing.units import free_tier, idle_cost, total, unit_prices

    lines = idle_cost(footprint(document))
    rows = [[one.description, f"{one.quantity:g} {one.unit}", f"{one.usd:,.2f} USD"] for one in lines]
    text.table(["while idle", "", "a month"], [*rows, ["sum", "", f"{total(lines):,.2f} USD"]], right=(2,))
    if free := free_tier(lines):
        text.say(f"- a free tier takes off up to {free:,.2f} USD of it (10 alarms, 3 dashboards; once an account)")
    if metrics := custom_metrics(document):
        most = metrics * unit_prices()["custom_metric"].usd_per_month
        text.say(
            f"- not in the sum: {metrics} metrics of its own are named, each paid by the hour in which it reports "
            f"something: nothing while idle, {most:,.2f} USD in a month without a pause (10 are free, once an account)"
        )
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
