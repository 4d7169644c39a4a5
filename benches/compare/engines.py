"""Coverage, job index and groups of one dataset by other engines, each in a process of its own.

usage: engines.py ENGINE FOLDER    (FOLDER/data holds the files of `perfharvest simulate --dump`, FOLDER/parquet an export)
       engines.py check FOLDER     (are all results equal?)
"""

import json
import os
import sys

START, END = "2026-06-26T00:00:00Z", "2026-11-20T00:00:00Z"
RESULTS = ["coverage", "job_index", "groups"]


def from_json(folder):
    datum = "STRUCT(job_id BIGINT, push_timestamp TIMESTAMP, revision VARCHAR, submit_time TIMESTAMP)[]"
    return f"""
        SELECT signature_id, unnest(jobs, recursive := true)
        FROM read_json('{folder}/data/perf_jobs_by_signature.jsonl', format = 'newline_delimited',
             maximum_object_size = 268435456, columns = {{signature_id: 'BIGINT', jobs: '{datum}'}})"""


def from_parquet(folder):
    columns = "signature_id, job_id, push_timestamp, revision, submit_time"
    return f"SELECT {columns} FROM read_parquet('{folder}/parquet/data.parquet')"


def by_duckdb(folder, name, data):
    import duckdb

    db = duckdb.connect()
    db.execute(f"SET temp_directory='{folder}/duckdb.tmp'")
    db.execute(f"""
        CREATE TEMP TABLE data AS {data};
        CREATE TEMP TABLE commits AS
        SELECT node, to_timestamp(date[1]) AS committed
        FROM read_json('{folder}/data/all_commits.jsonl', format = 'newline_delimited',
             columns = {{node: 'VARCHAR', date: 'DOUBLE[]'}})
        WHERE committed BETWEEN '{START}' AND '{END}';
    """)
    out = f"{folder}/{name}"
    db.execute(f"""
        COPY (SELECT node AS revision, list_sort(list(DISTINCT signature_id)) AS signature_ids
              FROM data JOIN commits ON node = revision
              WHERE submit_time IS NULL
                 OR submit_time - push_timestamp BETWEEN INTERVAL 0 SECOND AND INTERVAL 600 SECOND
              GROUP BY node ORDER BY node) TO '{out}/coverage.jsonl' (FORMAT json);
        COPY (SELECT job_id, list_sort(list(DISTINCT signature_id)) AS signature_ids
              FROM data WHERE job_id IS NOT NULL GROUP BY job_id ORDER BY job_id)
        TO '{out}/job_index.jsonl' (FORMAT json);
        COPY (SELECT list_sort(list(signature_id)) AS signatures
              FROM (SELECT signature_id, list_sort(list(DISTINCT job_id)) AS jobs
                    FROM data WHERE job_id IS NOT NULL GROUP BY signature_id)
              GROUP BY jobs ORDER BY len(signatures) DESC, signatures[1]) TO '{out}/groups.jsonl' (FORMAT json);
    """)


def by_polars(folder):
    import polars as pl
    from datetime import datetime

    datum = pl.Struct({"job_id": pl.Int64, "push_timestamp": pl.String, "revision": pl.String, "submit_time": pl.String})
    data = (
        pl.scan_ndjson(f"{folder}/data/perf_jobs_by_signature.jsonl", schema={"signature_id": pl.Int64, "jobs": pl.List(datum)})
        .explode("jobs").unnest("jobs").drop_nulls("revision").collect()
    )
    instant = lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    commits = (
        pl.scan_ndjson(f"{folder}/data/all_commits.jsonl", schema={"node": pl.String, "date": pl.List(pl.Float64)})
        .filter(pl.col("date").list.get(0).is_between(instant(START), instant(END))).select("node").collect()
    )
    parse = lambda column: pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us")
    delay = (parse("submit_time") - parse("push_timestamp")).dt.total_microseconds()
    out = f"{folder}/polars"
    (
        data.lazy().join(commits.lazy(), left_on="revision", right_on="node")
        .filter(pl.col("submit_time").is_null() | delay.is_between(0, 600_000_000))
        .group_by("revision").agg(pl.col("signature_id").unique().sort().alias("signature_ids"))
        .sort("revision").collect().write_ndjson(f"{out}/coverage.jsonl")
    )
    with_jobs = data.lazy().filter(pl.col("job_id").is_not_null())
    (
        with_jobs.group_by("job_id").agg(pl.col("signature_id").unique().sort().alias("signature_ids"))
        .sort("job_id").collect().write_ndjson(f"{out}/job_index.jsonl")
    )
    (
        with_jobs.group_by("signature_id").agg(pl.col("job_id").unique().sort().alias("jobs"))
        .group_by("jobs").agg(pl.col("signature_id").sort().alias("signatures"))
        .with_columns(size=pl.col("signatures").list.len(), first=pl.col("signatures").list.get(0))
        .sort(["size", "first"], descending=[True, False]).select("signatures").collect().write_ndjson(f"{out}/groups.jsonl")
    )


def only_loaded(folder):
    """The first step of the reference scripts: every row in memory."""
    assert jsonl(f"{folder}/data/perf_jobs_by_signature.jsonl")


ENGINES = {
    "python": only_loaded,
    "duckdb": lambda folder: by_duckdb(folder, "duckdb", from_json(folder)),
    "duckdb_parquet": lambda folder: by_duckdb(folder, "duckdb_parquet", from_parquet(folder)),
    "polars": by_polars,
}


def jsonl(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def results_of_engine(folder, name):
    read = lambda result: jsonl(f"{folder}/{name}/{result}.jsonl")
    return {
        "coverage": {row["revision"]: row["signature_ids"] for row in read("coverage")},
        "job_index": {row["job_id"]: row["signature_ids"] for row in read("job_index")},
        "groups": [row["signatures"] for row in read("groups")],
    }


def results_of_perfharvest(out):
    rows = jsonl(f"{out}/perf_jobs_per_revision_details.jsonl")
    return {
        "coverage": {row["revision"]: row["signature_ids"] for row in rows if row["total_jobs"]},
        "job_index": {row["job_id"]: row["signature_ids"] for row in jsonl(f"{out}/sigs_by_job_id.jsonl")},
        "groups": [row["signatures"] for row in jsonl(f"{out}/sig_groups.jsonl")],
    }


def check(folder):
    ours = results_of_perfharvest(f"{folder}/three")
    for engine in ENGINES:
        if engine != "python" and os.path.isdir(f"{folder}/{engine}"):
            theirs = results_of_engine(folder, engine)
            for result in RESULTS:
                if theirs[result] != ours[result]:
                    sys.exit(f"{result} by {engine} differs from perfharvest's")


if __name__ == "__main__":
    {**ENGINES, "check": check}[sys.argv[1]](sys.argv[2])
