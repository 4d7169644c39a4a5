"""Checks a published folder with the programs of those who will read it.

    perfharvest publish --output upload
    python examples/publish/check.py upload

Needs the packages of requirements.txt. The citation is checked by `cffconvert --validate -i upload/CITATION.cff`.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import datasets
import duckdb
import frictionless
import mlcroissant
import pandas as pd


def check(holds, message):
    if not holds:
        sys.exit(f"check.py: {message}")


def main(folder):
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    rows = {}
    for path, entry in manifest["files"].items():
        if "table" in entry:
            rows[entry["table"]] = rows.get(entry["table"], 0) + entry["rows"]

    for line in (folder / "SHA256SUMS").read_text("utf-8").splitlines():
        digest, name = line.split("  ", 1)
        with open(folder / name, "rb") as file:
            check(hashlib.file_digest(file, "sha256").hexdigest() == digest, f"{name} has another digest")

    # The paths of the files count from the folder.
    os.chdir(folder)
    dataset = mlcroissant.Dataset("croissant.json")
    for table, expected in rows.items():
        found = sum(1 for _ in dataset.records(table))
        check(found == expected, f"mlcroissant: {found} rows of {table}, expected {expected}")

    report = frictionless.validate("datapackage.json")
    check(report.valid, f"frictionless: {report.flatten(['name', 'type', 'message'])}")

    for table, expected in rows.items():
        parts = f"{table}/**/*.parquet"
        [(found,)] = duckdb.sql(f"SELECT count(*) FROM read_parquet('{parts}', hive_partitioning = true)").fetchall()
        check(found == expected, f"DuckDB: {found} rows of {table}, expected {expected}")
        check(len(pd.read_parquet(table)) == expected, f"pandas: not {expected} rows of {table}")
    [(wrong,)] = duckdb.sql(
        "SELECT count(*) FROM read_parquet('data/**/*.parquet', hive_partitioning = true, hive_types = {'month': VARCHAR}) "
        "WHERE strftime(push_timestamp AT TIME ZONE 'UTC', '%Y-%m') <> month"
    ).fetchall()
    check(wrong == 0, f"{wrong} data in the file of another month")
    for path in sorted(Path("artifacts").glob("*.gz")):
        read = pd.read_csv if path.name.endswith(".csv.gz") else (lambda file: pd.read_json(file, lines=True))
        expected = manifest["files"][path.as_posix()]["rows"]
        found = len(read(path)) if expected else 0
        check(found == expected, f"pandas: {found} rows of {path}, expected {expected}")

    for table, expected in rows.items():
        split = datasets.load_dataset(str(folder), table, split="train", cache_dir=os.environ.get("HF_DATASETS_CACHE"))
        check(split.num_rows == expected, f"datasets: {split.num_rows} rows of {table}, expected {expected}")
    print("all programs read all tables:", ", ".join(f"{table} {number}" for table, number in rows.items()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve())
