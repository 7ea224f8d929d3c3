"""`spotbatch simulate --deadline` on the screen: what each placement policy saves, and how often it is late."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spotbatch.cli.output import text

if TYPE_CHECKING:
    from spotbatch.policy.interface import Terms
    from spotbatch.simulate.deadlines import Score


def show(terms: "Terms", scores: "Sequence[Score]", sources: Sequence[str]) -> None:
    """The table of policies. `sources` say where the price ratio comes from."""
    text.say(
        f"one job of {text.duration(terms.work_seconds)} within {text.duration(terms.deadline_seconds)}, "
        f"{terms.changeover_seconds:.0f} s lost at each start, on-demand at {terms.price_ratio:.3f} times Spot, "
        f"{scores[0].windows} windows"
    )
    text.say()
    rows = [
        [
            each.name,
            _percent(each.mean_saving),
            "-" if each.zone_error is None else f"{100 * each.zone_error:.1f}",
            _percent(min(each.zone_savings.values())),
            f"{100 * each.p95_cost:.0f} %",
            f"{100 * each.worst_cost:.0f} %",
            str(each.late),
        ]
        for each in scores
    ]
    heads = ["policy", "saving", "error over zones", "worst zone", "cost p95", "cost worst", "late"]
    text.table(heads, rows, right=range(1, len(heads)))
    text.say()
    text.say("- a late job did not get its work done: its saving is no saving")
    text.say("- costs are parts of the on-demand bill for the bare work; the model and its limits: docs/policy.md")
    for line in sources:
        text.say(f"- {line}")


def _percent(part: float) -> str:
    return f"{100 * part:z.1f} %"  # z: no minus before zero
