"""The one choice that determines what an idle stack costs: how hosts reach the internet. Its prices and storage."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from spotbatch.deployment.cdk import CONTEXT_KEY
from spotbatch.pricing.footprint import NAT_INSTANCE
from spotbatch.pricing.units import idle_cost, total

SETTING: Final = "egress"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A value of the setting, its idle cost per month (USD), and the arguments for and against it."""

    name: str
    usd_a_month: Decimal
    words: str


def choices() -> Sequence[Choice]:
    """In order of price, most expensive first; us-east-1 prices, as in `spotbatch estimate --idle`."""
    counted: tuple[tuple[str, Mapping[str, int], str], ...] = (
        (
            "nat-gateway",
            {"nat_gateway": 1, "public_ipv4": 1},
            "private hosts behind a gateway that AWS tends; 0.045 USD for each GiB that goes through it",
        ),
        ("nat-instance", NAT_INSTANCE, "private hosts behind one small host (t4g.nano) that nobody tends"),
        (
            "public",
            {},
            "hosts with public addresses and no way in: no port is open; 0.005 USD an hour for each host that runs",
        ),
    )
    return [Choice(name=name, usd_a_month=total(idle_cost(items)), words=words) for name, items, words in counted]


def is_chosen(folder: Path, given: Mapping[str, Any]) -> bool:
    """Whether the choice has been made: with --set, or in cdk.json."""
    return SETTING in given or SETTING in _settings(_read(folder))


def remember(folder: Path, name: str) -> None:
    """Save the answer in cdk.json. In place: a deployment holds a lock on that very file."""
    document = _read(folder)
    document.setdefault("context", {})[CONTEXT_KEY] = {**_settings(document), SETTING: name}
    (folder / "cdk.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "cdk.json").read_text(encoding="utf-8"))
    return found


def _settings(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document.get("context", {}).get(CONTEXT_KEY) or {}
    return found
