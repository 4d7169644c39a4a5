"""The parts `crawl` and `rate`: crawls of one simulated server, held against Scrapy, against wrk, and against the rate limit."""

import json
import os
import shutil
import subprocess
import sys
import time

from measure import Cost, Series, empty, in_turn, measure, removed
from simulator import Simulator

CONCURRENCY = 64
WRK_SECONDS = 5
SPIDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "spider.py")
WINDOW = ["--start", "2026-07-01T00:00:00Z", "--data-end", "2026-11-22T08:00:00Z"]
# Without the burst the bucket would be the limit: timers are late by a millisecond, which is a thousand tokens.
UNLIMITED = ["limiter.requests_per_second=1000000", "limiter.burst=1000000", "limiter.adaptive=false"]
UNLIMITED += [f"concurrency.summaries={CONCURRENCY}"]
# Each thread of wrk asks for the paths in turn, from a place of its own.
LUA = """
local paths = {}
for line in io.lines(os.getenv("PATHS")) do paths[#paths + 1] = line end
local threads = 0
function setup(thread) thread:set("offset", threads * 7919); threads = threads + 1 end
function init() place = offset end
function request()
    place = place % #paths + 1
    return wrk.format("GET", paths[place], {["User-Agent"] = "perfharvest-bench/1", ["Accept-Encoding"] = "gzip"})
end
"""


def generated(binary, signatures, data, *flags):
    return Simulator([binary, "simulate", "--signatures", signatures, "--data-per-signature", data, *flags])


def crawl(binary, url, store, settings=UNLIMITED):
    """Crawls into a new store."""
    settings = [word for setting in settings for word in ("--set", setting)]
    return measure([binary, "crawl", "--base-url", url, "--store", removed(store), "--no-progress", *WINDOW, *settings])


def kinds_of(binary, store):
    """The counts of a store, by kind of request."""
    status = subprocess.run([binary, "status", "--json", "--store", store], check=True, capture_output=True).stdout
    return json.loads(status)["counts"]["kinds"]


def run(binary, folder, args, report):
    """Against Scrapy."""
    def scrapy():
        job = empty(f"{folder}/scrapy.job")
        settings = [f"JOBDIR={job}", f"CONCURRENT_REQUESTS={CONCURRENCY}", f"CONCURRENT_REQUESTS_PER_DOMAIN={CONCURRENCY}"]
        settings += ["DOWNLOAD_DELAY=0", "AUTOTHROTTLE_ENABLED=False"]
        settings = [word for setting in settings for word in ("-s", setting)]
        return measure([sys.executable, "-m", "scrapy", "runspider", SPIDER, "-a", f"url={server.url}", "-O", feed, *settings])

    feed, store = f"{folder}/scrapy.jsonl", f"{folder}/crawl.store"
    with generated(binary, args.crawl_signatures, 100) as server:
        costs = in_turn({
            "Scrapy: crawl, without job details": scrapy,
            "perfharvest: crawl": lambda: crawl(binary, server.url, store),
        }, args.rounds)
    with open(feed) as rows:
        theirs = sum(row.startswith('{"signature_id"') for row in rows)
    ours = kinds_of(binary, store)["summaries"]["data"]
    if theirs != ours:
        sys.exit(f"Scrapy has the data of {theirs} signatures, perfharvest those of {ours}")
    for name, series in costs.items():
        report.costs(name, series, f"{series.ratio(costs['Scrapy: crawl, without job details']):.2f} of Scrapy's time")


def new_log(folder):
    """The path of an arrival log: the simulator appends to one that is there."""
    path = f"{folder}/arrivals.jsonl"
    if os.path.exists(path):
        os.remove(path)
    return path


def arrivals(log):
    with open(log) as lines:
        return [json.loads(line) for line in lines]


def rate_of(asked):
    """Requests a second, from the first to the last."""
    times = [arrival["at_ms"] for arrival in asked]
    return (len(times) - 1) / (max(times) - min(times)) * 1000


def rate(binary, folder, args, report):
    """Against wrk, which forgets the answers to the same requests; and the share that is used of a limited rate."""
    if not shutil.which("wrk"):
        report.figure("wrk: the same requests", "not measured: wrk is not installed")
    else:
        against_wrk(binary, folder, args, report)
    if args.limited:
        for limit, seconds in [(5, 40), (50, 40), (500, 60)]:
            at_limit(binary, folder, limit, seconds, report)


def against_wrk(binary, folder, args, report):
    log = new_log(folder)
    with generated(binary, args.rate_signatures, 100, "--arrival-log", log) as server:
        crawl(binary, server.url, f"{folder}/rate.store")
        time.sleep(0.5)  # the log is written a moment later
        asked = arrivals(log)
    paths = [arrival["path_and_query"] for arrival in asked]
    report.figure("perfharvest: the first crawl, from the first request to the last", f"{rate_of(asked):.0f} requests/s")
    open(f"{folder}/paths", "w").write("\n".join(paths) + "\n")
    open(f"{folder}/paths.lua", "w").write(LUA)

    def wrk():
        command = ["wrk", "-t2", f"-c{CONCURRENCY}", f"-d{WRK_SECONDS}s", "-s", f"{folder}/paths.lua", server.url]
        said = subprocess.run(command, env={**os.environ, "PATHS": f"{folder}/paths"}, check=True, capture_output=True, text=True).stdout
        assert "Non-2xx" not in said, said
        a_second = float(next(line for line in said.splitlines() if line.startswith("Requests/sec")).split()[1])
        return Cost(len(paths) / a_second, 0, 0)

    with generated(binary, args.rate_signatures, 100) as server:
        costs = in_turn({"wrk": wrk, "perfharvest": lambda: crawl(binary, server.url, f"{folder}/rate.store")}, args.rounds)
    a_second = {name: Series([Cost(len(paths) / cost.wall, 0, 0) for cost in series.costs]) for name, series in costs.items()}
    share = a_second["perfharvest"].ratio(a_second["wrk"])
    report.figure(f"wrk: {len(paths)} requests, forgotten", f"{a_second['wrk'].median('wall'):.0f} requests/s")
    report.costs("perfharvest: the same requests", costs["perfharvest"],
                 f"{a_second['perfharvest'].median('wall'):.0f} requests/s, {share:.2f} of wrk's")
    report.target("5. requests a second, relative to wrk's", share, 1 / 2, at_most=False)


def at_limit(binary, folder, limit, seconds, report):
    """From the first to the last arrival of one crawl, every stage included."""
    log = new_log(folder)
    settings = [f"limiter.requests_per_second={limit}", f"limiter.burst={max(2, limit // 50)}"]
    settings += [f"concurrency.summaries={max(8, limit // 4)}"]
    flags = ["--latency", "lognormal:80ms,0.3", "--arrival-log", log]
    with generated(binary, limit * seconds, 100, *flags) as server:
        crawl(binary, server.url, f"{folder}/rate.store", settings)
    asked = arrivals(log)
    times = [arrival["at_ms"] for arrival in asked]
    used = rate_of(asked) / limit
    # The lists come one after the other, each page after the last: no concurrency helps there.
    first = min(arrival["at_ms"] for arrival in asked if arrival["endpoint"] == "summary")
    after = sum(time > first for time in times) / (max(times) - first) * 1000 / limit
    report.figure(f"crawl at {limit} requests/s", f"{used:.2f} of the rate used, {after:.2f} from the first summary on")
