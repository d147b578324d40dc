"""``python -m bench [NAME ...] [--json]``."""

import argparse
import json
from collections.abc import Callable
from functools import partial

from bench import (
    customers,
    drift,
    duplicates,
    flap,
    memory,
    profile,
    quality,
    reading,
    resident,
    scale,
    sweeps,
    takeover,
    throughput,
    unseen,
)
from bench.report import Table

BENCHES: dict[str, Callable[[], Table]] = {
    "quality": quality.run,
    "streams": unseen.run,
    "flap": flap.run,
    "memory": memory.run,
    "duplicates": duplicates.run,
    "drift": drift.run,
    "reading": reading.run,
    "throughput": throughput.run,
    "sweeps": sweeps.run,
    "profile": profile.run,
    "workers": scale.run_workers,
    "partitions": scale.run_partitions,
    "customers": customers.run,
    "takeover": takeover.run,
    "resident": resident.run,
}


def main() -> None:
    """Run the named benches, or all, and print what they measured."""
    parser = argparse.ArgumentParser(prog="bench", description="Ratios of one run each.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument(
        "--minutes", type=float, default=resident.MINUTES, help="how long `resident` replays"
    )
    options = parser.parse_args()
    benches: dict[str, Callable[[], Table]] = {
        **BENCHES,
        "resident": partial(resident.run, options.minutes),
    }
    unknown = [name for name in options.names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    for name in options.names or BENCHES:
        table = benches[name]()
        lines = [json.dumps({"bench": name, **table.to_dict()})] if options.json else table.lines()
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
