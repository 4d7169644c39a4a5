"""The part `tables`: three results of one dataset by each engine, from the JSON, from Parquet and from a store."""

import os
import sys

from engines import END, ENGINES, START
from measure import empty, in_turn, measure, removed, size_of

THREE = ["perf_jobs_per_revision_details", "sigs_by_job_id", "sig_groups"]
INCOMPLETE = 3  # the crawl behind the data is not complete, which an import never is
ENGINES_PY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "engines.py")


class Peers:
    """One function for each row of the table."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.store, self.out = f"{folder}/store", f"{folder}/out"

    def engine(self, name):
        def run():
            empty(f"{self.folder}/{name}")
            return measure([sys.executable, ENGINES_PY, name, self.folder])

        return run

    def perfharvest(self, *words, cores=None):
        command = [self.binary, *words, "--store", self.store, "--quiet"]
        return measure(command, cores, accepted=(0, INCOMPLETE))

    def imported(self):
        removed(self.store)
        window = ["--start", START, "--end", END]
        return self.perfharvest("import", f"{self.folder}/data", *window)

    def reduced(self, *artifacts, out=None, cores=None):
        inputs = ["--out", out or self.out, "--commits", f"{self.folder}/data/all_commits.jsonl"]
        return self.perfharvest("reduce", *artifacts, *inputs, cores=cores)

    def three(self):
        return self.reduced(*THREE, out=removed(f"{self.folder}/three"))

    def everything(self, cores=None):
        removed(self.out)
        return self.reduced(cores=cores)

    def export(self):
        output = ["--output", removed(f"{self.folder}/parquet"), "--commits", f"{self.folder}/data/all_commits.jsonl"]
        return self.perfharvest("export", "--format", "parquet", "--tables", "data", *output)


def run(binary, folder, args, report):
    if not os.path.exists(f"{folder}/data/all_commits.jsonl"):
        generated = ["--signatures", args.signatures, "--data-per-signature", args.data]
        measure([binary, "simulate", *generated, "--dump", f"{folder}/data"])
    peers = Peers(binary, folder)
    peers.imported()
    peers.export()
    costs = in_turn({
        "Python: only load the JSON": peers.engine("python"),
        "DuckDB: three results from the JSON": peers.engine("duckdb"),
        "DuckDB: three results from perfharvest's Parquet": peers.engine("duckdb_parquet"),
        "Polars: three results from the JSON": peers.engine("polars"),
        "perfharvest: import the JSON": peers.imported,
        "perfharvest: three results from its store": peers.three,
        "perfharvest: all artifacts": peers.everything,
        "perfharvest: all artifacts, nothing new": peers.reduced,
        "perfharvest: all artifacts, on one core": lambda: peers.everything({0}),
        "perfharvest: write the data as Parquet": peers.export,
    }, args.rounds)
    measure([sys.executable, ENGINES_PY, "check", folder])
    costs["perfharvest: import, then all artifacts"] = \
        costs["perfharvest: import the JSON"] + costs["perfharvest: all artifacts"]
    duckdb = costs["DuckDB: three results from the JSON"]
    for name, series in costs.items():
        report.costs(name, series, f"{series.ratio(duckdb):.2f} of DuckDB's time")
    size = os.path.getsize(f"{folder}/data/perf_jobs_by_signature.jsonl")
    report.figure("size of the JSON", f"{size / 1e6:.0f} MB")
    for name, path in [("its Parquet", "parquet"), ("its store", "store"), ("all artifacts", "out")]:
        report.figure(f"size of {name}", f"{size_of(f'{folder}/{path}') / 1e6:.0f} MB")
    for name, most, peer in [
        ("1. import, then all artifacts", 0.6, "perfharvest: import, then all artifacts"),
        ("2. three results from the store", 1 / 10, "perfharvest: three results from its store"),
        ("2. all artifacts from the store", 1 / 3, "perfharvest: all artifacts"),
    ]:
        report.target(f"{name}, relative to DuckDB's three", costs[peer].ratio(duckdb), most)
