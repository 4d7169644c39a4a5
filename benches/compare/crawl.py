"""How fast a crawl asks, held against two standards.

1. Without a limit: requests a second of a crawl that parses, compresses and durably stores every answer, as a share of what
   wrk gets from the same simulator with the same requests at the same concurrency, and forgets.
2. At 5, 50 and 500 requests a second: the share of the configured rate that is used, by the simulator's arrival log.

usage: crawl.py BINARY [SIGNATURES]      (needs wrk on the PATH; Debian and others have it as a package)
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time

from simulator import Simulator

CONCURRENCY = 64
ROUNDS = 5
WINDOW = ["--start", "2026-07-01T00:00:00Z", "--data-end", "2026-11-22T08:00:00Z"]
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


class LoggingSimulator(Simulator):
    """A simulator that logs the arrivals of requests."""

    def __init__(self, binary, folder, signatures, *flags):
        self.log = tempfile.mkstemp(dir=folder, suffix=".arrivals.jsonl")[1]
        command = [binary, "simulate", "--signatures", signatures, "--data-per-signature", 100]
        super().__init__([*command, "--arrival-log", self.log, *flags])

    def arrivals(self):
        with open(self.log) as log:
            return [json.loads(line) for line in log]


def crawl(binary, url, store, *flags):
    """Crawls into a new store; the seconds it took, and its requests."""
    command = [binary, "crawl", "--base-url", url, "--store", store, "--no-progress", *WINDOW, *flags]
    started = time.monotonic()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - started


def unlimited(binary, folder, signatures):
    ratios = []
    with LoggingSimulator(binary, folder, signatures) as simulator:
        # Without the burst the bucket would be the limit: timers are late by a millisecond, which is a thousand tokens.
        limits = ["--set", "limiter.requests_per_second=1000000", "--set", "limiter.burst=1000000"]
        limits += ["--set", "limiter.adaptive=false"]
        limits += ["--set", f"concurrency.summaries={CONCURRENCY}"]
        crawl(binary, simulator.url, f"{folder}/warm.store", *limits)
        time.sleep(0.5)
        paths = [arrival["path_and_query"] for arrival in simulator.arrivals()]
        open(f"{folder}/paths", "w").write("\n".join(paths) + "\n")
        open(f"{folder}/paths.lua", "w").write(LUA)
        wrk = ["wrk", "-t2", f"-c{CONCURRENCY}", "-d5s", "-s", f"{folder}/paths.lua", simulator.url]
        for number in range(ROUNDS):
            seconds = crawl(binary, simulator.url, f"{folder}/{number}.store", *limits)
            said = subprocess.run(wrk, env={**os.environ, "PATHS": f"{folder}/paths"}, check=True, capture_output=True, text=True).stdout
            assert "Non-2xx" not in said, said
            most = float(next(line for line in said.splitlines() if line.startswith("Requests/sec")).split()[1])
            ours = len(paths) / seconds
            ratios.append(ours / most)
            print(f"{len(paths)} requests: crawl {ours:.0f}/s, wrk {most:.0f}/s, share {ours / most:.2f}", flush=True)
    print(f"median share {sorted(ratios)[len(ratios) // 2]:.2f} at concurrency {CONCURRENCY}\n")


def at_rate(binary, folder, rate, seconds):
    """From the first to the last arrival of one crawl, every stage included."""
    flags = ["--latency", "lognormal:80ms,0.3"]
    with LoggingSimulator(binary, folder, rate * seconds, *flags) as simulator:
        limits = ["--set", f"limiter.requests_per_second={rate}", "--set", f"limiter.burst={max(2, rate // 50)}"]
        limits += ["--set", f"concurrency.summaries={max(8, rate // 4)}"]
        crawl(binary, simulator.url, f"{folder}/rate-{rate}.store", *limits)
    times = [arrival["at_ms"] for arrival in simulator.arrivals()]
    whole = (len(times) - 1) / (max(times) - min(times)) * 1000
    # The lists come one after the other, each page after the last: no concurrency helps there.
    first = min(a["at_ms"] for a in simulator.arrivals() if a["endpoint"] == "summary")
    after = sum(time > first for time in times) / (max(times) - first) * 1000
    print(f"{rate:4}/s: {len(times)} requests; used {whole / rate:.3f} of the rate, {after / rate:.3f} from the first summary on", flush=True)


def main():
    binary, signatures = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 12000
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}\n")
    with tempfile.TemporaryDirectory() as folder:
        unlimited(binary, folder, signatures)
        for rate, seconds in [(5, 40), (50, 40), (500, 60)]:
            at_rate(binary, folder, rate, seconds)


main()
