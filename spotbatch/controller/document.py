"""A run as JSON, for storing and loading. Pure."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.errors import Damaged
from spotbatch.controller.run import Budget, Deadline, Growth, Move, Need, Note, Outcome, Part, Place, Run, Wishes

SCHEMA: Final = 1  # incremented when a field changes its meaning: an older function then leaves the run alone


def to_json(run: Run) -> str:
    """The run without its revision, which the store keeps."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "run_id": run.run_id,
            "name": run.name,
            "created_at": run.created_at,
            "size": run.size,
            "spot_queue": run.spot_queue,
            "on_demand_queue": run.on_demand_queue,
            "request": dict(run.request),
            "wishes": _wishes(run.wishes),
            "memory_mib": run.memory_mib,
            "artifacts_url": run.artifacts_url,
            "inputs": run.inputs,
            "next_number": run.next_number,
            "parts": [_part(each) for each in run.parts],
            "moves": [_move(each) for each in run.moves],
            "succeeded": str(run.succeeded),
            "failed": str(run.failed),
            "stopped": str(run.stopped),
            "is_recorded": run.is_recorded,
            "learnt_mib": run.learnt_mib,
            "spent_usd": str(run.spent_usd),
            "usd_per_hour": str(run.usd_per_hour),
            "looked_at": run.looked_at,
            "outcome": run.outcome.value,
            "ended_at": run.ended_at,
            "notes": [[each.at, each.text] for each in run.notes],
        },
        separators=(",", ":"),
    )


def _wishes(wishes: Wishes) -> dict[str, Any]:
    by, growth, budget = wishes.deadline, wishes.growth, wishes.budget
    return {
        "deadline": [by.at, by.work_seconds, by.changeover_seconds, by.price_ratio] if by else None,
        "on_demand_after": wishes.on_demand_after,
        "growth": [growth.factor, growth.most_mib] if growth else None,
        "budget": [str(budget.max_usd), str(budget.spot_usd_per_hour), str(budget.on_demand_usd_per_hour)]
        if budget
        else None,
    }


def _need(need: Need) -> list[Any]:
    return [need.place.value, need.memory_mib, need.losses]


def _part(part: Part) -> dict[str, Any]:
    return {
        "number": part.number,
        "job_id": part.job_id,
        "indexes": str(part.indexes),
        "open": str(part.open),
        "need": _need(part.need),
        "at": part.at,
        "why": part.why,
    }


def _move(move: Move) -> dict[str, Any]:
    return {
        "number": move.number,
        "indexes": str(move.indexes),
        "ending": str(move.ending),
        "need": _need(move.need),
        "at": move.at,
        "why": move.why,
        "asked_at": move.asked_at,
        "is_stop": move.is_stop,
    }


def from_json(text: str, *, revision: int) -> Run:
    """The run that `to_json` wrote. Raises Damaged if this is not a run, or is one of a later version."""
    try:
        found: Any = json.loads(text)
        if found["schema"] != SCHEMA:
            raise Damaged(f"run {found.get('run_id')} was written by another version ({found['schema']}, not {SCHEMA})")
        return _run(found, revision)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise Damaged(f"a run in the controller's table cannot be read: {error}") from error


def _run(found: Mapping[str, Any], revision: int) -> Run:
    plain = ("run_id", "name", "created_at", "size", "spot_queue", "on_demand_queue", "request", "memory_mib")
    more = ("artifacts_url", "inputs", "next_number", "learnt_mib", "looked_at", "ended_at")
    return Run(
        **{name: found[name] for name in (*plain, *more)},
        revision=revision,
        wishes=_wishes_of(found["wishes"]),
        parts=tuple(_part_of(each) for each in found["parts"]),
        moves=tuple(_move_of(each) for each in found["moves"]),
        succeeded=_indexes(found["succeeded"]),
        failed=_indexes(found["failed"]),
        stopped=_indexes(found["stopped"]),
        spent_usd=Decimal(found["spent_usd"]),
        usd_per_hour=Decimal(found["usd_per_hour"]),
        outcome=Outcome(found["outcome"]),
        is_recorded=bool(found.get("is_recorded", False)),
        notes=tuple(Note(at=at, text=text) for at, text in found["notes"]),
    )


def _indexes(text: str) -> ArrayIndexes:
    return ArrayIndexes.parse(text) if text else ArrayIndexes()


def _wishes_of(found: Mapping[str, Any]) -> Wishes:
    by, growth, budget = found["deadline"], found["growth"], found["budget"]
    names = ("at", "work_seconds", "changeover_seconds", "price_ratio")
    rates = ("max_usd", "spot_usd_per_hour", "on_demand_usd_per_hour")
    return Wishes(
        deadline=Deadline(**dict(zip(names, by, strict=True))) if by else None,
        on_demand_after=found["on_demand_after"],
        growth=Growth(factor=growth[0], most_mib=growth[1]) if growth else None,
        budget=Budget(**{name: Decimal(one) for name, one in zip(rates, budget, strict=True)}) if budget else None,
    )


def _need_of(found: Any) -> Need:
    place, memory_mib, losses = found
    return Need(place=Place(place), memory_mib=memory_mib, losses=losses)


def _part_of(found: Mapping[str, Any]) -> Part:
    own = {name: _indexes(found[name]) for name in ("indexes", "open")}
    return Part(**{**found, **own, "need": _need_of(found["need"])})


def _move_of(found: Mapping[str, Any]) -> Move:
    own = {name: _indexes(found[name]) for name in ("indexes", "ending")}
    return Move(**{**found, **own, "need": _need_of(found["need"])})
