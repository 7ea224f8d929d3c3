"""JSON for programs: one document for an answer, one line per event for a stream."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.light_dataclass import as_dict


def write(value: object) -> None:
    """One document, indented, on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def write_event(event: Mapping[str, object]) -> None:
    """One event on one line, at once, on standard output."""
    sys.stdout.write(json.dumps(event, default=_plain, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> object:
    """Convert what json cannot write itself. Money is written as a string, since a float would change it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, AttemptRecord):  # not a standard library dataclass: the runtime starts without it
        return as_dict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
