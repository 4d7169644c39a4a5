#!/usr/bin/env python3
"""Reads the Parquet export with pandas: how many tests ran each day, and on how many revisions?

    python3 examples/read_with_pandas.py datasets/demo/parquet
"""

import sys
from pathlib import Path

import pandas as pd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "datasets/demo/parquet")

# pyarrow's types keep ids that may be null as integers; pandas' own would make floats of them.
columns = ["signature_id", "push_timestamp", "revision", "job_id"]
data = pd.read_parquet(folder / "data.parquet", columns=columns, dtype_backend="pyarrow")
assert str(data["job_id"].dtype) == "int64[pyarrow]", data["job_id"].dtype
days = data.groupby(data["push_timestamp"].dt.date)
print(days.agg(signatures=("signature_id", "nunique"), revisions=("revision", "nunique"), data=("job_id", "size")).tail())

# One signature alone: the filter reaches the file, and row groups without it are never read.
first = int(data["signature_id"].min())
one = pd.read_parquet(folder / "data.parquet", filters=[("signature_id", "==", first)], dtype_backend="pyarrow")
print(one[["push_timestamp", "revision", "value", "machine_name"]].head())
