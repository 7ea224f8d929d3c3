"""The last job: gather the twelve months' results into one table and one chart."""

import csv
import json
import os
from pathlib import Path
from typing import Any

from .data import carrier_names

COLUMNS = ("month", "carrier", "name", "flights", "median_minutes", "low_minutes", "high_minutes")
MOST_FLIGHTS = 9  # carriers in the chart; the table has all of them


def read_months(folder: Path) -> list[dict[str, Any]]:
    """The results of the array's children, anywhere below the folder, by month."""
    months = [json.loads(file.read_text(encoding="utf-8")) for file in folder.rglob("month-*.json")]
    if len(months) != 12:
        raise SystemExit(f"12 months are wanted, {len(months)} found below {folder}")
    return sorted(months, key=lambda month: int(month["month"]))


def table(months: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per month and carrier."""
    names = carrier_names()
    return [
        {"month": month["month"], "name": names.get(row["carrier"], ""), **{key: row[key] for key in row}}
        for month in months
        for row in month["carriers"]
    ]


def write_table(rows: list[dict[str, Any]], file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw_picture(rows: list[dict[str, Any]], file: Path) -> None:
    """Small multiples: the median delay of the largest carriers over the year, with its confidence interval."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    flights: dict[str, int] = {}
    for row in rows:
        flights[row["carrier"]] = flights.get(row["carrier"], 0) + row["flights"]
    largest = sorted(flights, key=lambda carrier: -flights[carrier])[:MOST_FLIGHTS]
    figure, axes = plt.subplots(3, 3, figsize=(10, 7.5), sharex=True, sharey=True, layout="constrained")
    for axis, carrier in zip(axes.flat, largest, strict=True):
        mine = [row for row in rows if row["carrier"] == carrier]
        x = [row["month"] for row in mine]
        low, high = [row["low_minutes"] for row in mine], [row["high_minutes"] for row in mine]
        axis.fill_between(x, low, high, color="#0b7285", alpha=0.25, linewidth=0)
        axis.plot(x, [row["median_minutes"] for row in mine], color="#0b7285", linewidth=1.8)
        axis.axhline(0, color="#868e96", linewidth=0.6)
        axis.set_title(f"{mine[0]['name']} ({flights[carrier]:,} flights)", fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xticks(range(1, 13), list("JFMAMJJASOND"), fontsize=8)
        axis.tick_params(axis="y", labelsize=8)
    figure.suptitle("Median departure delay from New York City, 2013 (minutes; band: 95 % bootstrap interval)")
    figure.savefig(file, dpi=110, metadata={"Software": None})


def main() -> None:
    inputs = Path(os.environ.get("SPOTBATCH_INPUT_DIR", "input"))
    outputs = Path(os.environ.get("SPOTBATCH_OUTPUT_DIR", "output"))
    outputs.mkdir(parents=True, exist_ok=True)
    rows = table(read_months(inputs))
    write_table(rows, outputs / "delays.csv")
    draw_picture(rows, outputs / "delays.png")
    print(f"{len(rows)} rows in delays.csv, and their picture in delays.png", flush=True)


if __name__ == "__main__":
    main()
