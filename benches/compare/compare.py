"""perfharvest and its peers on one machine: time, memory and space in one table, and which targets are met.

Peers are measured in turn, and each figure is the median of the rounds, as are the ratios, which are taken round by round.
"""

import argparse
import os
import platform
import sys

import crawl
import sizes
import tables

PARTS = {"tables": tables.run, "crawl": crawl.run, "rate": crawl.rate, "disk": sizes.disk, "memory": sizes.memory}


class Report:
    """The rows of the table, and the targets."""

    def __init__(self):
        self.rows, self.targets = [], []

    def costs(self, name, series, ratio):
        figures = [f"{series.median('wall'):.2f}", f"{series.median('cpu'):.1f}", f"{series.median('peak'):.0f}"]
        self.rows.append([name, *figures, ratio])

    def figure(self, name, text):
        self.rows.append([name, "", "", "", text])

    def target(self, name, measured, bound, at_most=True):
        met = measured <= bound if at_most else measured >= bound
        limit = f"at {'most' if at_most else 'least'} {bound:.2f}"
        self.targets.append([name, limit, f"{measured:.2f}", "met" if met else "NOT MET"])

    def print(self):
        show(["", "wall s", "CPU s", "peak MB", ""], self.rows)
        if self.targets:
            print()
            show(["target", "", "measured", ""], sorted(self.targets))


def show(head, rows):
    """Prints a table of Markdown; columns of numbers are right-aligned."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    numeric = [at > 0 and name != "" for at, name in enumerate(head)]
    line = lambda row: "| " + " | ".join(
        text.rjust(width) if right else text.ljust(width) for text, width, right in zip(row, widths, numeric)) + " |"
    print(line(head))
    print("|" + "|".join("-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, numeric)) + "|")
    for row in rows:
        print(line(row))


def arguments():
    parser = argparse.ArgumentParser(prog="run", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="for data, stores and results; data that are there are used again")
    parser.add_argument("--parts", default="tables,crawl,rate,disk", help=f"of {', '.join(PARTS)} [default: all but memory]")
    parser.add_argument("--large", action="store_true", help="also the part memory, which takes minutes")
    parser.add_argument("--limited", action="store_true", help="also crawls with a rate limit, which take minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--signatures", type=int, default=20_000, help="of the parts tables and memory")
    parser.add_argument("--data", type=int, default=120, help="for each of these signatures")
    parser.add_argument("--crawl-signatures", type=int, default=3_000, help="of the part crawl")
    parser.add_argument("--rate-signatures", type=int, default=12_000, help="of the part rate")
    parser.add_argument("--disk-signatures", type=int, default=5_000, help="of the part disk")
    parser.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.parts = args.parts.split(",") + ["memory"] * args.large
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part}; the parts are {', '.join(PARTS)}")
    return args


def main():
    args, report = arguments(), Report()
    for part in args.parts:
        print(f"part {part}", file=sys.stderr, flush=True)
        PARTS[part](args.binary, args.folder, args, report)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; medians of {args.rounds}\n")
    report.print()


main()
