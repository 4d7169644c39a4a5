"""The parts `disk` and `memory`: what a store takes, and how memory grows with the data."""

from crawl import crawl, generated, kinds_of
from measure import Series, measure, removed, size_of


def disk(binary, folder, args, report):
    for data, least in [(100, 12), (12, 4)]:
        store = f"{folder}/disk.store"
        with generated(binary, args.disk_signatures, data) as server:
            crawl(binary, server.url, store)
        replies, stored = sum(kind["body_bytes"] for kind in kinds_of(binary, store).values()), size_of(store)
        measure([binary, "compact", "--store", store, "--quiet"])
        compacted = size_of(store)
        report.figure(f"store of a crawl, {args.disk_signatures} signatures with {data} data each",
                      f"{stored / 1e6:.1f} MB for {replies / 1e6:.1f} MB of JSON; {compacted / 1e6:.1f} MB after `compact`")
        report.target(f"3. JSON relative to the store, {data} data each", replies / stored, least, at_most=False)


def memory(binary, folder, args, report):
    """Of ten times the signatures, and so ten times the data."""
    peaks = []
    for signatures in [args.signatures, 10 * args.signatures]:
        store, out = f"{folder}/memory.store", f"{folder}/memory.out"
        with generated(binary, signatures, args.data) as server:
            crawled = crawl(binary, server.url, store)
        inputs = ["--out", out, "--quiet"]
        reduced = measure([binary, "reduce", "--store", store, *inputs], accepted=(0, 3))
        peaks.append((reduced.peak, crawled.peak))
        for name, cost in [("crawl", crawled), ("reduce", reduced)]:
            report.costs(f"perfharvest: {name}, {signatures * args.data / 1e6:.1f} M data", Series([cost]), "")
        removed(store), removed(out)
    for name, small, large in zip(["reduce", "crawl"], *peaks):
        report.target(f"4. memory of `{name}` with ten times the data", large / small, 1.33)
