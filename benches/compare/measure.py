"""Commands as processes of their own: wall and CPU time, peak memory; peers are measured in turn."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

MEGABYTE = 1e6


@dataclass
class Cost:
    wall: float
    cpu: float
    peak: float  # MB

    def __add__(self, after):
        """Of two commands, one after the other."""
        return Cost(self.wall + after.wall, self.cpu + after.cpu, max(self.peak, after.peak))


def measure(command, cores=None, accepted=(0,)):
    """Runs a command, on some cores only if they are named."""
    # The system counts the memory of this process as its child's, too: it stays small.
    pin = cores and (lambda: os.sched_setaffinity(0, cores))
    start = time.perf_counter()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=pin)
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in accepted:
        sys.exit(f"{' '.join(child.args)} ended with {child.returncode}:\n{said.decode(errors='replace')}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MEGABYTE)


class Series:
    """The costs of one peer, one for each round."""

    def __init__(self, costs):
        self.costs = costs

    def __add__(self, after):
        return Series([one + other for one, other in zip(self.costs, after.costs)])

    def median(self, figure):
        return statistics.median(getattr(cost, figure) for cost in self.costs)

    def ratio(self, base, figure="wall"):
        """To a peer, round by round: the speed of the machine varies."""
        pairs = zip(self.costs, base.costs)
        return statistics.median(getattr(one, figure) / getattr(other, figure) for one, other in pairs)


def in_turn(peers, rounds):
    """Calls the functions `peers` in turn (A, B, A, B, …) after a round that is not counted; each gives a Cost."""
    costs = {name: [] for name in peers}
    for number in range(-1, rounds):
        for name, peer in peers.items():
            cost = peer()
            if number >= 0:
                costs[name].append(cost)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return {name: Series(of_peer) for name, of_peer in costs.items()}


def empty(path):
    """Makes the folder `path`, or empties it."""
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def removed(path):
    shutil.rmtree(path, ignore_errors=True)
    return path


def size_of(folder):
    """Bytes of all files."""
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
