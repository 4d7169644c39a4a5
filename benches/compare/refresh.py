"""A year of weekly refreshes, held against one crawl of the same data.

The simulator serves generated data and only adds to them. The first store is filled by `run` in week 1 and by a `refresh` in
each week after it, the second by one `run` up to the same `data_end`. Every command is a process of its own: seconds are wall
time, and peak memory is the system's figure for the process.

With `--jobs sampled`, the first store ends up with more job details than one crawl can get, since each week has samples of its
own; with `--jobs all`, both hold the same records.

usage: refresh.py BINARY [--signatures N] [--weeks N] [--data N] [--jobs sampled|all] [--seed N] [--folder DIR]
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from simulator import Simulator

END = datetime.datetime(2026, 11, 22, tzinfo=datetime.timezone.utc)  # of generated data
ROUNDS = 5
PUSHES_PER_WEEK = 60
ALERT_DAYS = 3 * 365
UNLIMITED = ["limiter.requests_per_second=1000000", "limiter.burst=1000000", "limiter.adaptive=false"]
UNLIMITED += ["concurrency.summaries=64", "concurrency.job_details=16"]
# They tell how the store was made.
OF_THE_WAY = {"manifest.json", "alert_summary_history.jsonl"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--signatures", type=int, default=2000)
    parser.add_argument("--weeks", type=int, default=52, help="refreshes after the first run")
    parser.add_argument("--data", type=int, default=120, help="data per signature over all weeks")
    parser.add_argument("--jobs", choices=["sampled", "all"], default="all", help="setting jobs.details")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="for everything that is made [default: temporary]")
    return parser.parse_args()


def text_of(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def megabytes(num_bytes):
    return num_bytes / 1e6


class Command:
    """A finished command: seconds, peak memory in MB, and its messages."""

    def __init__(self, *command):
        with tempfile.TemporaryFile("w+") as messages:
            started = time.monotonic()
            process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=messages)
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            self.peak = usage.ru_maxrss * 1024 / 1e6
            self.cpu = usage.ru_utime + usage.ru_stime
            messages.seek(0)
            self.messages = messages.read()
        if process.returncode != 0:
            sys.exit(f"{' '.join(process.args)}\nexit code {process.returncode}\n{self.messages}")


def generator(args):
    """Flags of the data, besides the number of signatures."""
    flags = ["--data-per-signature", args.data, "--seed", args.seed]
    return [*flags, "--weeks", args.weeks + 1, "--pushes", PUSHES_PER_WEEK * (args.weeks + 1)]


class ClockSimulator(Simulator):
    """A simulator with a clock that is moved."""

    def __init__(self, args, now):
        command = [args.binary, "simulate", "--signatures", args.signatures, *generator(args)]
        super().__init__([*command, "--history", "grows", "--now", text_of(now)])

    def move_to(self, now):
        urllib.request.urlopen(f"{self.url}/__sim/now", data=text_of(now).encode()).read()


class Place:
    """A store and its artifacts."""

    def __init__(self, args, folder, name, start, commits, weeks_before):
        """`weeks_before`: from the first harvest of the other store, whose start of the alerts is this one's too."""
        self.binary, self.start, self.commits = args.binary, start, commits
        self.store, self.out = folder / f"{name}.store", folder / f"{name}.out"
        alerts = f"window.alerts_lookback={ALERT_DAYS + 7 * weeks_before}d"
        jobs = f'jobs.details="{args.jobs}"'
        self.settings = [word for setting in (*UNLIMITED, alerts, jobs) for word in ("--set", setting)]
        self.requests_before = 0

    def command(self, verb, *more):
        command = [self.binary, verb, *more, "--store", self.store, "--out", self.out, "--commits", self.commits]
        return Command(*command, "--start", text_of(self.start), "--no-progress", *self.settings)

    def harvest(self, verb, url, data_end):
        done = self.command(verb, "--base-url", url, "--data-end", text_of(data_end))
        requests = self.requests()
        done.requests, self.requests_before = requests - self.requests_before, requests
        return done

    def status(self):
        command = [self.binary, "status", "--json", "--store", self.store]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def requests(self):
        """All that the store has cost."""
        return sum(harvest["requests"] for harvest in self.status()["harvests"])

    def records(self, kind):
        return self.status()["counts"]["kinds"][kind]["records"]

    def sizes(self):
        """MB of the log and of the database."""
        database = sum(path.stat().st_size for path in (self.store / "db").iterdir() if path.is_file())
        return megabytes((self.store / "values").stat().st_size), megabytes(database)

    def files(self):
        return [path for path in sorted(self.out.rglob("*")) if path.is_file()]

    def written(self):
        """Of each file, its inode and its time: they change when it is written anew."""
        return {str(path.relative_to(self.out)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in self.files()}

    def digests(self):
        names = {path: path.relative_to(self.out) for path in self.files()}
        names = {path: name for path, name in names.items() if str(name) not in OF_THE_WAY and name.parts[0] != "changes"}
        return {str(name): hashlib.sha256(path.read_bytes()).hexdigest() for path, name in names.items()}

    def reduce_anew(self):
        for path in self.files():
            path.unlink()
        return self.command("reduce")


def show(name, done, more=""):
    print(f"{name:>12} {done.requests:9} {done.seconds:9.2f} {done.cpu:9.2f} {done.peak:9.0f}{more}", flush=True)


def year(args, simulator, place, moments):
    """The store that is brought up to date every week; the refreshes."""
    refreshes = []
    print(f"{'':>12} {'requests':>9} {'seconds':>9} {'CPU s':>9} {'peak MB':>9} {'log MB':>9} {'db MB':>9}")
    for week, moment in enumerate(moments):
        simulator.move_to(moment)
        done = place.harvest("refresh" if week else "run", simulator.url, moment)
        if week:
            refreshes.append(done)
        compacted = re.search(r".*compacted the store.*", done.messages)
        if compacted:
            print(f"{'':>12} week {week}: {compacted[0].split('INFO', 1)[-1].strip()}", flush=True)
        if week % 10 == 0 or week + 1 == len(moments):
            log, database = place.sizes()
            show(f"week {week}", done, f" {log:9.1f} {database:9.1f}")
    return refreshes


def without_news(simulator, place, moments):
    print(f"\n{'':>12} {'requests':>9} {'seconds':>9} {'CPU s':>9} {'peak MB':>9}")
    before = place.written()
    done = place.harvest("refresh", simulator.url, moments[-1] + datetime.timedelta(hours=1))
    after = place.written()
    show("nothing new", done)
    print(f"{'':>12} written: {', '.join(sorted(name for name in after if after[name] != before.get(name)))}")


def compare(year, once):
    def row(name, one, other, unit):
        print(f"{name:>12} {one:11.2f} {other:11.2f} {one / other:7.2f}  {unit}", flush=True)

    print(f"\n{'':>12} {'refreshed':>11} {'one crawl':>11} {'ratio':>7}")
    pairs = [(year.reduce_anew(), once.reduce_anew()) for _ in range(ROUNDS)]
    for name, figure, unit in [("reduce", "seconds", "s"), ("reduce", "cpu", "s of CPU"), ("peak", "peak", "MB")]:
        row(name, *(statistics.median(getattr(done, figure) for done in side) for side in zip(*pairs)), unit)
    ours, other = year.digests(), once.digests()
    row("disk", sum(year.sizes()), sum(once.sizes()), "MB, log and database")
    row("log", year.sizes()[0], once.sizes()[0], "MB")
    row("database", year.sizes()[1], once.sizes()[1], "MB")
    row("data", *(place.records("summaries") for place in (year, once)), "in the store")
    row("jobs", *(place.records("job_details") for place in (year, once)), "with details in the store")
    for place in (year, once):
        Command(place.binary, "compact", "--store", place.store)
    row("compacted", sum(year.sizes()), sum(once.sizes()), "MB, log and database")
    differing = sorted(name for name in ours.keys() | other.keys() if ours.get(name) != other.get(name))
    print(f"\n{len(ours)} artifacts; differing: {', '.join(differing) or 'none'}")


def run(args, folder):
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
          f"{args.signatures} signatures x {args.data} data, {args.weeks} refreshes, {args.jobs} jobs, seed {args.seed}\n", flush=True)
    start = END - datetime.timedelta(weeks=args.weeks + 1)
    moments = [start + datetime.timedelta(weeks=week + 1) for week in range(args.weeks + 1)]
    with ClockSimulator(args, moments[0]) as simulator:
        # The commits do not depend on the number of signatures.
        Command(args.binary, "simulate", "--signatures", 1, *generator(args), "--dump", folder / "data")
        commits = folder / "data" / "all_commits.jsonl"
        refreshed = Place(args, folder, "refreshed", start, commits, 0)
        once = Place(args, folder, "once", start, commits, args.weeks)
        refreshes = year(args, simulator, refreshed, moments)
        median = refreshes[0]
        for figure in ("requests", "seconds", "cpu", "peak"):
            setattr(median, figure, statistics.median(getattr(done, figure) for done in refreshes))
        median.requests = int(median.requests)
        show("median", median)
        done = once.harvest("run", simulator.url, moments[-1])
        log, database = once.sizes()
        show("one crawl", done, f" {log:9.1f} {database:9.1f}")
        compare(refreshed, once)
        without_news(simulator, refreshed, moments)


def main():
    args = arguments()
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
        run(args, args.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(args, Path(folder))


main()
