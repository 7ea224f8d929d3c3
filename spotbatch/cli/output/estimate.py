"""An estimate on the screen, and as a document."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from spotbatch.cli.output import text

if TYPE_CHECKING:
    from spotbatch.pricing.forecast import Forecast

_VOLUME_GIB: Final = 50  # per host in the default stack
_SHOWN_TYPES: Final = 8


def as_document(found: "Forecast", sources: Sequence[str]) -> dict[str, object]:
    """The estimate as data for programs."""
    plan = found.plan
    return {
        "jobs": plan.jobs,
        "work_seconds": plan.work_seconds,
        "vcpus": plan.need.vcpus,
        "memory_mib": plan.need.memory_mib,
        "max_vcpus": plan.max_vcpus,
        "seed": plan.seed,
        "scenarios": {
            each.name: {
                "cost_usd": _quantiles(each.cost_usd, 6),
                "finish_seconds": _quantiles(each.finish_seconds, 1),
                "interruptions": _quantiles(each.interruptions, 2),
                "hosts": each.hosts,
                "host_hours": round(each.host_hours, 3),
                "volumes_usd": _volumes_usd(each.host_hours),
                "chance_late": each.chance_late,
                "samples": each.samples,
            }
            for each in found.scenarios
        },
        "checkpoint": found.checkpoint,
        "types": [
            {
                "instance_type": each.type.name,
                "jobs_per_host": each.jobs_per_host,
                "spot_usd_per_job_hour": each.spot_usd_per_job_hour,
                "on_demand_usd_per_job_hour": each.on_demand_usd_per_job_hour,
                "saving_percent": each.saving_percent,
                "interruptions_per_hour": round(each.interruptions_per_hour, 6),
            }
            for each in found.choices
        ],
        "sources": sources,
        "notes": found.notes,
    }


def _quantiles(values: Any, places: int) -> dict[str, float]:
    return {name: round(getattr(values, name), places) for name in ("p50", "p90", "p95", "mean")}


def show(found: "Forecast", sources: Sequence[str], *, is_measured: bool) -> None:
    """Show the estimate to a user."""
    plan = found.plan
    how = "as measured" if is_measured else "each"
    text.say(
        f"{plan.jobs} jobs of {text.duration(plan.work_seconds)} {how}, {plan.need.vcpus} vCPUs, "
        f"{plan.need.memory_mib} MiB, on up to {plan.max_vcpus} vCPUs"
    )
    text.say()
    _say_scenarios(found)
    spot = found.scenario("spot")
    text.say(f"beside it the hosts' volumes: about {_usd(_volumes_usd(spot.host_hours))}; see --idle for the stack")
    _say_checkpoint(found)
    _say_types(found)
    text.say()
    for line in (*sources, *found.notes):
        text.say(f"- {line}")


def in_short(found: "Forecast") -> list[str]:
    """The estimate in a line for Spot and one for on-demand."""
    lines = []
    for name in ("spot", "on-demand"):
        each = found.scenario(name)
        cost, finish = each.cost_usd, each.finish_seconds
        ends = f"ends in {text.duration(finish.p50)} (p90 {text.duration(finish.p90)})"
        lines.append(f"{name:<10}{_usd(cost.p50)} (p90 {_usd(cost.p90)}), {ends}")
    return [*lines, "on c5, m5 and r5, up to 256 vCPUs; `spotbatch estimate` has the assumptions and the rest"]


def _say_scenarios(found: "Forecast") -> None:
    heads = ["", "cost p50", "p90", "p95", "ends in p50", "p90", "p95", "interruptions", "late"]
    rows = []
    for each in found.scenarios:
        cost, finish = each.cost_usd, each.finish_seconds
        late = "-" if each.chance_late is None else _chance(each.late or 0, each.samples)
        rows.append(
            [
                each.name,
                *(_usd(value) for value in (cost.p50, cost.p90, cost.p95)),
                *(text.duration(value) for value in (finish.p50, finish.p90, finish.p95)),
                f"{each.interruptions.mean:.1f}",
                late,
            ]
        )
    text.table(heads, rows, right=range(1, len(heads)))


def _usd(value: float | Decimal) -> str:
    """An amount for display, such that a small run does not appear to be free."""
    from spotbatch.pricing.report import shown_usd

    return shown_usd(Decimal(f"{value:.6f}"))


def _chance(late: int, samples: int) -> str:
    """A share of samples, never more precise than the number of samples allows."""
    if not late:
        return f"< {300 / samples:.1f} %"  # the rule of three: 95 % sure
    return f"{100 * late / samples:.1f} %"


def _volumes_usd(host_hours: float) -> Decimal:
    """What the hosts' volumes cost: they are on the bill in addition to the hosts."""
    from spotbatch.pricing.units import HOURS_A_MONTH, total, usage_cost

    return total(usage_cost({"ebs_gp3_gib": _VOLUME_GIB * host_hours / HOURS_A_MONTH}))


def _say_checkpoint(found: "Forecast") -> None:
    advice = found.checkpoint
    text.say()
    if advice is None:
        text.say("no interruptions are assumed: checkpoints would save nothing")
    elif advice.interval_seconds is None:
        text.say(f"checkpoints: jobs of {text.duration(found.plan.work_seconds)} are too short to gain by them")
    else:
        gain = "without them, such jobs would hardly ever end"
        if advice.saved_usd is not None and advice.seconds_without < 100 * advice.seconds_with:
            gain = f"a job then takes {text.duration(advice.seconds_with)}, not {text.duration(advice.seconds_without)}"
            gain += f", and the run costs {_usd(advice.saved_usd)} less on Spot"
        text.say(f"checkpoints: save every {text.duration(advice.interval_seconds)} (Daly): {gain}")
    if advice is not None and advice.half_restart_usd:
        took = text.duration(found.plan.restart_seconds)
        text.say(f"a restart takes {took} (boot, restore): half of that would save {_usd(advice.half_restart_usd)}")


def _say_types(found: "Forecast") -> None:
    text.say()
    text.say(f"the cheapest {min(_SHOWN_TYPES, len(found.choices))} of {len(found.choices)} types, USD per job-hour:")
    rows = [
        [
            each.type.name,
            each.type.architecture,
            str(each.jobs_per_host),
            "not known" if each.spot_usd_per_job_hour is None else f"{each.spot_usd_per_job_hour:.5f}",
            f"{each.on_demand_usd_per_job_hour:.5f}",
            "-" if each.saving_percent is None else f"{each.saving_percent:.0f} %",
            each.type.interruption_band or "not known",
        ]
        for each in found.choices[:_SHOWN_TYPES]
    ]
    heads = ["type", "architecture", "jobs a host", "Spot", "on-demand", "saving", "interrupted"]
    text.table(heads, rows, right=(2, 3, 4, 5, 6))
