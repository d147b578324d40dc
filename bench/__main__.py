"""``python -m bench [NAME ...] [--json] [--record]``."""

import argparse
import json
from collections.abc import Callable
from functools import partial

from bench import (
    customers,
    drift,
    duplicates,
    flap,
    guard,
    ingest,
    latency,
    memory,
    pages,
    partitioning,
    peers,
    profile,
    quality,
    reading,
    reasons,
    resident,
    rollout,
    scale,
    sending,
    serve,
    startup,
    sweeps,
    takeover,
    throughput,
    trace,
    unseen,
)
from bench.report import Table

BENCHES: dict[str, Callable[[], Table]] = {
    "quality": quality.run,
    "streams": unseen.run,
    "segmentations": unseen.run_segmentations,
    "flap": flap.run,
    "reasons": reasons.run,
    "memory": memory.run,
    "duplicates": duplicates.run,
    "keys": partitioning.run,
    "drift": drift.run,
    "reading": reading.run,
    "sending": sending.run,
    "throughput": throughput.run,
    "latency": latency.run,
    "startup": startup.run,
    "ingest": ingest.run,
    "serve": serve.run,
    "pages": pages.run,
    "sweeps": sweeps.run,
    "profile": profile.run,
    "trace": trace.run,
    "peers": peers.run,
    "workers": scale.run_workers,
    "partitions": scale.run_partitions,
    "customers": customers.run,
    "takeover": takeover.run,
    "rollout": rollout.run,
    "resident": resident.run,
}

SCALE = ("workers", "partitions", "customers", "takeover", "rollout", "resident")
LONG = (
    "ingest",
    "serve",
    "pages",
    "streams",
    "segmentations",
    "flap",
    "reasons",
    "drift",
    "sweeps",
    "startup",
    "profile",
    "trace",
    "peers",
    *SCALE,
)
"""Run only when named; all others together take less than ten minutes."""


def main() -> None:
    """Run benches, print their results, and warn about regressions."""
    usual = [name for name in BENCHES if name not in LONG]
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Ratios of one run each, compared with those in bench/expected.json.",
        epilog=f"Without a name: {', '.join(usual)}. Example: python -m bench quality memory",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument(
        "--record", action="store_true", help="take the figures found as the expected ones"
    )
    parser.add_argument(
        "--minutes", type=float, default=resident.MINUTES, help="how long `resident` replays"
    )
    parser.add_argument(
        "--customers", type=int, default=serve.CUSTOMERS, help="how many `serve` has in its store"
    )
    parser.add_argument(
        "--dates",
        type=int,
        default=unseen.DATES,
        help=f"how many of {unseen.DATES} dates `segmentations` measures, the first",
    )
    options = parser.parse_args()
    benches: dict[str, Callable[[], Table]] = {
        **BENCHES,
        "segmentations": partial(unseen.run_segmentations, options.dates),
        "resident": partial(resident.run, options.minutes),
        "serve": partial(serve.run, options.customers),
    }
    unknown = [name for name in options.names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    figures = guard.load()
    verdicts: list[str] = []
    for name in options.names or usual:
        table = benches[name]()
        compared = guard.compare(name, table, figures)
        if options.json:
            print(json.dumps({"bench": name, **table.to_dict(), "compared": compared}), flush=True)
        else:
            print("\n".join(table.lines()), flush=True)
        verdicts += compared
        if options.record:
            figures = guard.record(name, table, figures)
    if verdicts and not options.json:
        print("Compared with bench/expected.json", *verdicts, sep="\n  ")


if __name__ == "__main__":
    main()
