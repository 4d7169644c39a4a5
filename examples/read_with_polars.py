#!/usr/bin/env python3
"""Reads the Parquet tables with polars: how long do jobs wait for a machine, by platform?

    python3 examples/read_with_polars.py datasets/demo/parquet
"""

import sys
from pathlib import Path

import polars as pl

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "datasets/demo/parquet")

# A null time is not known (the server writes 0). Jobs with such a time have no wait.
wait = (pl.col("start_timestamp") - pl.col("submit_timestamp")).dt.total_seconds() / 60
waits = (
    pl.scan_parquet(folder / "jobs.parquet")
    .filter(pl.col("start_timestamp") >= pl.col("submit_timestamp"))
    .group_by("platform")
    .agg(pl.len().alias("jobs"), wait.median().alias("median_minutes"), wait.max().alias("longest_minutes"))
    .sort("platform")
)
print(waits.collect())

# Read a single signature from millions of data: polars skips row groups without this signature.
data = pl.scan_parquet(folder / "data.parquet")
first = data.select(pl.col("signature_id").min()).collect().item()
print(data.filter(pl.col("signature_id") == first).select("push_timestamp", "revision", "value").collect())
