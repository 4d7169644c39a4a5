#!/usr/bin/env python3
"""Reads the Parquet tables with pandas: how many tests ran each day, and on how many revisions?

    python3 examples/read_with_pandas.py datasets/demo/parquet
"""

import sys
from pathlib import Path

import pandas as pd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "datasets/demo/parquet")

# With pyarrow's types, ids that may be null remain integers; pandas' own types would make them floats.
columns = ["signature_id", "push_timestamp", "revision", "job_id"]
data = pd.read_parquet(folder / "data.parquet", columns=columns, dtype_backend="pyarrow")
assert str(data["job_id"].dtype) == "int64[pyarrow]", data["job_id"].dtype
days = data.groupby(data["push_timestamp"].dt.date)
print(days.agg(signatures=("signature_id", "nunique"), revisions=("revision", "nunique"), data=("job_id", "size")).tail())

# Read a single signature: pandas passes the filter to the reader, which skips row groups without this signature.
first = int(data["signature_id"].min())
one = pd.read_parquet(folder / "data.parquet", filters=[("signature_id", "==", first)], dtype_backend="pyarrow")
print(one[["push_timestamp", "revision", "value", "machine_name"]].head())
