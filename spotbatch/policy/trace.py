"""Traces of Spot availability: the published CSV and JSON, read with their polarity checked."""

import csv
import gzip
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput

MOST_BYTES: Final = 512 * 1024 * 1024
_MOST_UNEVEN: Final = 1.5  # a gap between probes may be this many times the usual one
_COLUMNS: Final = ("zone", "timestamp_utc", "available")


class Polarity(StrEnum):
    """What a 1 in a trace means."""

    AVAILABLE = "available"
    RECLAIMED = "reclaimed"


_NAMED: Final[Mapping[str, Polarity]] = {
    "available": Polarity.AVAILABLE,
    "availability": Polarity.AVAILABLE,
    "preempted": Polarity.RECLAIMED,
    "preemptions": Polarity.RECLAIMED,
    "reclaimed": Polarity.RECLAIMED,
    "unavailable": Polarity.RECLAIMED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """Whether Spot was available in one pool: one entry every `tick_seconds`. A probe shows that an instance could be
    launched at that time; it is not the life of one instance."""

    zone: str
    tick_seconds: float
    available: tuple[bool, ...]
    usd_per_hour: tuple[float, ...] = ()  # as long as `available`, or empty: not known

    def __post_init__(self) -> None:
        if len(self.available) < 2 or not (math.isfinite(self.tick_seconds) and self.tick_seconds > 0):
            raise InvalidInput(
                f"the trace of {self.zone} has {len(self.available)} entries, {self.tick_seconds} s apart: "
                "at least 2, some time apart, are needed"
            )

    @property
    def seconds(self) -> float:
        return len(self.available) * self.tick_seconds

    def coarser(self, probes: int) -> "Trace":
        """One entry per this many probes: available only if all of them are. A remainder at the end is dropped."""
        whole = len(self.available) // probes * probes
        return Trace(
            zone=self.zone,
            tick_seconds=self.tick_seconds * probes,
            available=tuple(all(self.available[at : at + probes]) for at in range(0, whole, probes)),
            usd_per_hour=self.usd_per_hour[:whole:probes],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """How the entries of one file are to be read."""

    path: PurePath
    polarity: Polarity | None  # as the user says
    threshold: int | None

    def meaning(self, stated: Polarity | None) -> Polarity:
        """What a 1 means, by the file and by the user. Raises InvalidInput where they differ or neither says."""
        if self.threshold is not None:
            if Polarity.RECLAIMED in (stated, self.polarity):
                raise InvalidInput(f"{self.path} is read as counts of available instances, and said to hold reclaims")
            return Polarity.AVAILABLE
        if stated is None and self.polarity is None:
            raise InvalidInput(
                f"{self.path} does not say whether a 1 means available or reclaimed, and published sets differ: "
                "say --polarity available or --polarity reclaimed"
            )
        if stated is not None and self.polarity is not None and stated is not self.polarity:
            raise InvalidInput(f"{self.path} says that a 1 means {stated}, and --polarity says {self.polarity}")
        return stated or self.polarity or Polarity.AVAILABLE

    def is_available(self, value: object, meaning: Polarity) -> bool:
        """One entry. Raises ValueError."""
        if self.threshold is not None:
            count = _count(value)
            if count is None:
                raise ValueError(f"a count of instances is a whole number from 0, not {value!r}")
            return count >= self.threshold
        if value not in (0, 1, "0", "1"):
            is_count = _count(value) is not None
            hint = ": for counts of instances, give the --threshold from which Spot is available" if is_count else ""
            raise ValueError(f"an entry of a trace is 0 or 1, not {value!r}{hint}")
        return (value in (1, "1")) == (meaning is Polarity.AVAILABLE)


def _count(value: object) -> int | None:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number >= 0 and number == int(number) else None


def traces_in(
    path: PurePath, raw: bytes, polarity: Polarity | None = None, threshold: int | None = None
) -> list[Trace]:
    """The traces in a CSV (`zone,timestamp_utc,available[,spot_usd_per_hour]`) or JSON file, gzipped or not.

    `raw` is the file's content; its path determines the format. JSON: `{"metadata": {"gap_seconds": ...},
    "data": [0, 1, ...]}` as in the published sets, one object or a list. In a CSV the column name
    says what a 1 means; if a file does not say, `polarity` must, and if both do, they must agree: a trace read with
    inverted polarity yields plausible figures. With a `threshold`, entries are counts of instances that could be
    launched, as some published sets have them, and Spot is available where there are at least that many. Raises
    InvalidInput.
    """
    if threshold is not None and threshold < 1:
        raise InvalidInput(f"the threshold of a trace of counts is at least 1, not {threshold}")
    text = _text(path, raw)
    name = path.name.removesuffix(".gz")
    reading = _Reading(path=path, polarity=polarity, threshold=threshold)
    found = (_from_json if name.endswith(".json") else _from_csv)(reading, text)
    if not found:
        raise InvalidInput(f"{path} holds no probes")
    zone, count = Counter(each.zone for each in found).most_common(1)[0]
    if count > 1:
        raise InvalidInput(f'{path} holds {count} traces of zone {zone}: name each one\'s own in its "metadata"')
    return found


def _text(path: PurePath, raw: bytes) -> str:
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(raw)) as packed:
                raw = packed.read(MOST_BYTES + 1)
        except (OSError, EOFError) as error:
            raise InvalidInput(f"{path} begins as a gzip file and is none: {error}") from error
    if len(raw) > MOST_BYTES:
        raise InvalidInput(f"{path} is larger than {MOST_BYTES >> 20} MiB; split it by zone")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is no text: {error}") from error


def _from_csv(reading: _Reading, text: str) -> list[Trace]:
    path = reading.path
    rows = csv.DictReader(io.StringIO(text))
    stated = next((each for each in rows.fieldnames or () if each in _NAMED), None)
    if stated is None or "zone" not in (rows.fieldnames or ()):
        raise InvalidInput(f"{path} has the columns {rows.fieldnames}; {', '.join(_COLUMNS)} are needed")
    meaning = reading.meaning(_NAMED[stated])
    probes: dict[str, list[tuple[float, bool, float | None]]] = {}
    for row in rows:
        try:
            when = _utc(row["timestamp_utc"])
            price = float(row["spot_usd_per_hour"]) if row.get("spot_usd_per_hour") else None
            probes.setdefault(row["zone"], []).append((when, reading.is_available(row[stated], meaning), price))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{path}, line {rows.line_num}: {error}") from error
    return [_evenly(path, zone, found) for zone, found in sorted(probes.items())]


def _utc(text: str) -> float:
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _evenly(path: PurePath, zone: str, probes: list[tuple[float, bool, float | None]]) -> Trace:
    probes.sort(key=lambda probe: probe[0])
    if len(probes) < 2:
        raise InvalidInput(f"{path}: zone {zone} has one probe only")
    gaps = sorted(after[0] - before[0] for before, after in pairwise(probes))
    if gaps[0] <= 0 or gaps[-1] > gaps[len(gaps) // 2] * _MOST_UNEVEN:
        raise InvalidInput(f"{path}: probes of zone {zone} are {gaps[0]} to {gaps[-1]} s apart; an even grid is needed")
    prices = [each[2] for each in probes]
    return Trace(
        zone=zone,
        tick_seconds=(probes[-1][0] - probes[0][0]) / (len(probes) - 1),
        available=tuple(each[1] for each in probes),
        usd_per_hour=tuple(price for price in prices if price is not None) if None not in prices else (),
    )


def _from_json(reading: _Reading, text: str) -> list[Trace]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{reading.path} is no JSON: {error}") from error
    documents = document if isinstance(document, list) else [document]
    return [_from_object(reading, each, place) for place, each in enumerate(documents)]


def _from_object(reading: _Reading, document: Any, place: int) -> Trace:
    path = reading.path
    try:
        about = document["metadata"]
        tick = float(about["gap_seconds"])
        stated = next((each for each in _NAMED if each in document), None)
        word = about.get("polarity")
        if stated and word and _NAMED[stated] is not Polarity(word):
            raise InvalidInput(f"{path} calls its entries {stated!r}, and its metadata says that a 1 means {word}")
        meaning = reading.meaning(_NAMED[stated] if stated else Polarity(word) if word else None)
        values: Sequence[object] = document[stated or "data"]
        zone = str(about.get("zone") or about.get("region") or f"{path.stem}-{place}")
        found = tuple(reading.is_available(each, meaning) for each in values)
        return Trace(zone=zone, tick_seconds=tick, available=found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidInput(
            f'{path}: expected {{"metadata": {{"gap_seconds": ...}}, "data": [0, 1, ...]}}: {what}'
        ) from error
