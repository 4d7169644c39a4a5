"""Coverage, job index and groups of one dataset by DuckDB, by Polars and by perfharvest: equal results, and what each costs.

usage: compare.py BINARY FOLDER          (FOLDER/data holds the files of `perfharvest simulate --dump`)
       compare.py --engine NAME FOLDER   (one engine, in a process of its own)
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time

START, END = "2026-06-26T00:00:00Z", "2026-11-20T00:00:00Z"
DATA_END = "2026-11-22T08:00:00Z"
RESULTS = ["coverage", "job_index", "groups"]


def by_duckdb(folder):
    import duckdb

    db = duckdb.connect()
    db.execute(f"SET temp_directory='{folder}/duckdb.tmp'")
    datum = "STRUCT(job_id BIGINT, push_timestamp TIMESTAMP, revision VARCHAR, submit_time TIMESTAMP)[]"
    db.execute(f"""
        CREATE TEMP TABLE data AS
        SELECT signature_id, unnest(jobs, recursive := true)
        FROM read_json('{folder}/data/perf_jobs_by_signature.jsonl', format = 'newline_delimited',
             maximum_object_size = 268435456, columns = {{signature_id: 'BIGINT', jobs: '{datum}'}});
        CREATE TEMP TABLE commits AS
        SELECT node, to_timestamp(date[1]) AS committed
        FROM read_json('{folder}/data/all_commits.jsonl', format = 'newline_delimited',
             columns = {{node: 'VARCHAR', date: 'DOUBLE[]'}})
        WHERE committed BETWEEN '{START}' AND '{END}';
    """)
    out = f"{folder}/duckdb"
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
    from datetime import datetime, timezone

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


def measure(command, cores=None):
    """Runs a command, on some cores only if they are named: wall and CPU seconds, peak memory in MB."""
    start = time.perf_counter()
    pin = cores and (lambda: os.sched_setaffinity(0, cores))
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=pin)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 3):  # 3: the crawl behind the data is not complete, which an import never is
        sys.exit(f"{' '.join(command)} ended with {code}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main(binary, folder):
    costs = {"python: loading the JSON, no more": measure([sys.executable, __file__, "--engine", "python", folder])}
    for engine in ["duckdb", "polars"]:
        shutil.rmtree(f"{folder}/{engine}", ignore_errors=True)
        os.makedirs(f"{folder}/{engine}")
        costs[f"{engine}: the three"] = measure([sys.executable, __file__, "--engine", engine, folder])
    store, out = f"{folder}/store", f"{folder}/out"
    for path in [store, out]:
        shutil.rmtree(path, ignore_errors=True)
    window = ["--start", START, "--end", END, "--data-end", DATA_END]
    flags = ["--store", store, "--out", out, "--commits", f"{folder}/data/all_commits.jsonl", "--quiet"]
    imported = measure([binary, "import", f"{folder}/data", "--store", store, *window, "--quiet"])
    costs["perfharvest: import"] = imported
    three = ["perf_jobs_per_revision_details", "sigs_by_job_id", "sig_groups"]
    costs["perfharvest: the three from its store"] = measure([binary, "reduce", *three, *flags])
    # The memory of this process would count as its children's, too: results are read when all is measured.
    shutil.rmtree(f"{folder}/three", ignore_errors=True)
    os.rename(out, f"{folder}/three")
    # Once uncounted, so that both counted ones write into memory that the kernel has at hand.
    measure([binary, "reduce", *flags])
    shutil.rmtree(out)
    everything = measure([binary, "reduce", *flags])
    costs["perfharvest: all artifacts from its store"] = everything
    costs["perfharvest: import, then all artifacts"] = (
        imported[0] + everything[0], imported[1] + everything[1], max(imported[2], everything[2]))
    shutil.rmtree(out)
    costs["perfharvest: all artifacts, on one core"] = measure([binary, "reduce", *flags], {0})
    costs["perfharvest: all artifacts, nothing new"] = measure([binary, "reduce", *flags])
    ours = results_of_perfharvest(f"{folder}/three")
    for engine in ["duckdb", "polars"]:
        theirs = results_of_engine(folder, engine)
        for result in RESULTS:
            if theirs[result] != ours[result]:
                sys.exit(f"{result} by {engine} differs from perfharvest's")
    size = os.path.getsize(f"{folder}/data/perf_jobs_by_signature.jsonl")
    stored = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(store) for name in names)
    print(f"{size / 1e6:.0f} MB of perf_jobs_by_signature.jsonl; {platform.machine()}, {os.cpu_count()} cores; all results equal\n")
    print(f"| {'':41} | wall s | CPU s | peak MB | wall, DuckDB = 1 |\n|{'-' * 43}|-------:|------:|--------:|-----------------:|")
    base = costs["duckdb: the three"][0]
    for name, (wall, cpu, peak) in costs.items():
        print(f"| {name:41} | {wall:6.2f} | {cpu:5.1f} | {peak:7.0f} | {wall / base:16.2f} |")
    print(f"\nthe store: {stored / 1e6:.0f} MB, 1/{size / stored:.1f} of the JSON")


if __name__ == "__main__":
    if sys.argv[1] == "--engine":
        {"python": only_loaded, "duckdb": by_duckdb, "polars": by_polars}[sys.argv[2]](sys.argv[3])
    else:
        main(sys.argv[1], sys.argv[2])
