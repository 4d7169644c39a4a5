#!/usr/bin/env python3
"""Plots the data of a signature before and after the push that an alert blames.

    python3 examples/python/plot_alert.py datasets/demo/parquet 1240100 alert.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display
import matplotlib.pyplot as plt
from perfharvest_tables import AlertSeries, read_alert


def plot(series: AlertSeries, path: Path) -> None:
    """Writes a picture of the series: a dot for each datum, a fainter one for each replicate, and both medians."""
    alert, push = series.alert, series.summary["push_timestamp"].replace(tzinfo=None)
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for data, name, colour in [(series.before, "before", "tab:blue"), (series.after, "after", "tab:orange")]:
        data = data.dropna(subset=["value"])
        if data.empty:
            continue
        times = data["push_timestamp"].dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
        replicates = data["replicates"].explode().dropna()
        axes.plot(times[replicates.index], replicates, ".", color=colour, alpha=0.25, markersize=3)
        median = data["value"].median()
        label = f"{name}: {len(data)} data, median {median:,g}"
        axes.plot(times, data["value"].astype(float), "o", color=colour, markersize=4, label=label)
        axes.hlines(median, min(times.min(), push), max(times.max(), push), color=colour, linewidth=1)
    axes.axvline(push, color="black", linestyle="--", linewidth=1)
    parts = [alert[key] for key in ("suite", "test", "machine_platform") if alert[key]]
    kind = "regression" if alert["is_regression"] else "improvement"
    percent = "" if alert["amount_pct"] is None else f" of {alert['amount_pct']:g} %"
    axes.set_title(f"{' '.join(parts)}\nalert {alert['id']}: {kind}{percent} at {str(series.summary['revision'])[:12]}")
    axes.set_ylabel(alert["measurement_unit"] or "value")
    axes.set_xlabel("time of the push, UTC")
    axes.tick_params(axis="x", rotation=30)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("tables", type=Path, help="folder of `perfharvest export --format parquet`")
    parser.add_argument("alert", type=int, help="id of the alert")
    parser.add_argument("picture", type=Path, help="file to write, such as alert.png or alert.svg")
    parser.add_argument("--days", type=float, default=14, help="days before and after the push (default: 14)")
    arguments = parser.parse_args()
    try:
        series = read_alert(arguments.tables, arguments.alert, arguments.days)
    except (LookupError, FileNotFoundError) as error:
        parser.exit(1, f"{error}\n")
    plot(series, arguments.picture)
    print(f"{len(series.before)} data before, {len(series.after)} since the push: {arguments.picture}")


if __name__ == "__main__":
    main()
