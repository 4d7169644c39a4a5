#!/usr/bin/env python3
"""Runs the queries in this folder in DuckDB and in Spark, and compares their results with the artifacts.

    perfharvest demo
    perfharvest export --format parquet --store datasets/demo/store --out datasets/demo \\
        --commits datasets/demo/input/all_commits.jsonl
    python3 -m venv venv && venv/bin/pip install -r examples/requirements.txt      # Spark needs Java 17
    venv/bin/python examples/sql/check.py datasets/demo/parquet datasets/demo

The artifacts must be of the same store, and follow the corrected semantics. The script holds everything in memory and is
meant for the demo or a sample: two million data take DuckDB a minute and some gigabytes, and Spark much longer. It exits with 1
at the first difference, and with 2 if something cannot be compared. --engine runs one engine only.
"""

import argparse
import csv
import datetime
import json
import sys
from pathlib import Path

TABLES = ["data", "signatures", "alert_summaries", "alerts", "jobs", "revisions", "sig_groups"]
QUERIES = Path(__file__).resolve().parent
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class DuckDb:
    name = "DuckDB"

    def __init__(self, tables):
        import duckdb

        self.session = duckdb.connect()
        self.session.execute("SET TimeZone = 'UTC'")
        for name in TABLES:
            path = str(tables / f"{name}.parquet").replace("'", "''")
            self.session.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")

    def rows(self, sql):
        cursor = self.session.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]

    def close(self):
        self.session.close()


class Spark:
    name = "Spark"

    def __init__(self, tables):
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master("local[2]").appName("perfharvest check")
        for key, value in {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": "4",
        }.items():
            builder = builder.config(key, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")
        for name in TABLES:
            self.session.read.parquet(str(tables / f"{name}.parquet")).createOrReplaceTempView(name)

    def rows(self, sql):
        return [row.asDict() for row in self.session.sql(sql).collect()]

    def close(self):
        self.session.stop()


class Difference(Exception):
    """The result of a query differs from the artifact."""


def refuse(reason):
    print(reason, file=sys.stderr)
    sys.exit(2)


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(what, found, expected):
    """Compares row by row; both are lists."""
    for number, (row, wanted) in enumerate(zip(found, expected)):
        if row != wanted:
            raise Difference(f"{what}, row {number}: got {row}, the artifact has {wanted}")
    if len(found) != len(expected):
        raise Difference(f"{what}: got {len(found)} rows, the artifact has {len(expected)}")


def seconds(at):
    """Converts a time to seconds since 1970. Spark returns local times without a zone."""
    return (at.astimezone(datetime.timezone.utc) - EPOCH).total_seconds()


def check_coverage(rows, artifacts):
    found = [
        (seconds(row["commit_date"]), row["revision"], row["total_jobs"], list(row["signature_ids"] or []))
        for row in rows
    ]
    details = [
        (
            seconds(datetime.datetime.fromisoformat(row["submit_time_iso"])),
            row["revision"],
            row["total_jobs"],
            row["signature_ids"],
        )
        for row in lines(artifacts / "perf_jobs_per_revision_details.jsonl")
    ]
    # The artifact sorts commits of the same date by their first data; this script sorts them by name.
    same("coverage against perf_jobs_per_revision_details.jsonl", found, sorted(details))
    totals = {row["revision"]: int(row["total_jobs"]) for row in table(artifacts / "perf_jobs_per_revision.csv")}
    counted = {row["revision"]: row["total_jobs"] for row in rows}
    same("coverage against perf_jobs_per_revision.csv", sorted(counted.items()), sorted(totals.items()))
    return len(found)


def check_job_index(rows, artifacts):
    found = [{"job_id": row["job_id"], "signature_ids": list(row["signature_ids"])} for row in rows]
    same("job index against sigs_by_job_id.jsonl", found, lines(artifacts / "sigs_by_job_id.jsonl"))
    return len(found)


def check_groups(rows, artifacts):
    found = [{"Sig_group_id": row["sig_group_id"], "signatures": list(row["signatures"])} for row in rows]
    same("groups against sig_groups.jsonl", found, lines(artifacts / "sig_groups.jsonl"))
    return len(found)


def check_durations(rows, artifacts):
    # Python rounds to two digits, because engines round halves in different directions.
    found = [(row["signature_id"], f"{row['duration_minutes']:.2f}") for row in rows]
    expected = [(int(row["signature_id"]), row["duration_minutes"]) for row in table(artifacts / "job_durations.csv")]
    same("durations against job_durations.csv", found, expected)
    groups = {}
    for row, (_, text) in zip(rows, found):
        if row["sig_group_id"] is not None:
            groups.setdefault(row["sig_group_id"], []).append(float(text))
    means = []
    for group, minutes in sorted(groups.items()):
        total = 0.0
        for value in minutes:
            total += value
        means.append((group, f"{total / len(minutes):.2f}"))
    expected = [
        (int(row["signature_group_id"]), row["duration_minutes"])
        for row in table(artifacts / "sig_group_job_durations.csv")
    ]
    same("durations of groups against sig_group_job_durations.csv", means, expected)
    return len(found)


def check_tables(engine, artifacts):
    """Compares the tables that need no query: the groups, and every datum of every signature."""
    groups = {}
    for row in engine.rows("SELECT sig_group_id, signature_id FROM sig_groups ORDER BY sig_group_id, signature_id"):
        groups.setdefault(row["sig_group_id"], []).append(row["signature_id"])
    found = [{"Sig_group_id": group, "signatures": members} for group, members in groups.items()]
    same("table sig_groups against sig_groups.jsonl", found, lines(artifacts / "sig_groups.jsonl"))
    keys = ["id", "job_id", "push_id", "revision", "value", "machine_name"]
    times = ["push_timestamp", "submit_time"]
    columns = ", ".join(keys + times)
    rows = engine.rows(
        f"SELECT signature_id, {columns} FROM data ORDER BY signature_id, push_timestamp, push_id, job_id NULLS LAST, id"
    )

    def at(text):
        return text and seconds(datetime.datetime.fromisoformat(text + "+00:00"))

    found = [
        (row["signature_id"], *(row[key] for key in keys), *(row[key] and seconds(row[key]) for key in times))
        for row in rows
    ]
    expected = [
        (record["signature_id"], *(datum.get(key) for key in keys), *(at(datum.get(key)) for key in times))
        for record in lines(artifacts / "perf_jobs_by_signature.jsonl")
        for datum in record["jobs"]
    ]
    same("table data against perf_jobs_by_signature.jsonl", found, expected)
    return len(found)


CHECKS = {
    "coverage": check_coverage,
    "job_index": check_job_index,
    "groups": check_groups,
    "durations": check_durations,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("tables", type=Path, help="folder of `perfharvest export --format parquet`")
    parser.add_argument("artifacts", type=Path, help="folder of the artifacts of the same store")
    parser.add_argument("--engine", choices=["duckdb", "spark"], help="run only this engine")
    arguments = parser.parse_args()
    try:
        export = json.loads((arguments.tables / "export.json").read_text(encoding="utf-8"))
        manifest = json.loads((arguments.artifacts / "manifest.json").read_text(encoding="utf-8"))
    except OSError as error:
        refuse(f"the export or the dataset is not finished: {error}")
    if manifest["semantics"] != "corrected":
        refuse("these artifacts do not follow the corrected semantics, as the queries do: make them again with `perfharvest reduce`")
    if export["crawl"] != manifest["crawl"]:
        refuse(f"different crawls: the tables are of {export['crawl']}, the artifacts of {manifest['crawl']}")
    missing = [name for name in TABLES if name not in export["tables"]]
    if missing:
        refuse(f"the export lacks {', '.join(missing)}: run `perfharvest export --format parquet` without --tables")
    for engine_class in [DuckDb, Spark]:
        if arguments.engine not in (None, engine_class.__name__.lower()):
            continue
        engine = engine_class(arguments.tables)
        try:
            for name, check in CHECKS.items():
                sql = (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
                print(f"{engine.name} {name}: {check(engine.rows(sql), arguments.artifacts)} rows equal", flush=True)
            print(f"{engine.name} tables: {check_tables(engine, arguments.artifacts)} data equal", flush=True)
        except Difference as difference:
            print(f"{engine.name} {difference}", file=sys.stderr)
            sys.exit(1)
        finally:
            engine.close()


if __name__ == "__main__":
    main()
