"""``python -m tests.simulation [--runs N] [--seed S] [--show SEED]``."""

import argparse
import sys

from livesegments.rendering.progress import counting
from tests.simulation.chaos import TURNS, Chaos
from tests.simulation.runner import run_seeds


def main() -> int:
    """Run seeds and print the outcomes; return 1 when one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Run the service where everything breaks, and check its guarantees.",
        epilog="example: python -m tests.simulation --runs 5000 --seed 100000",
    )
    parser.add_argument("--runs", type=int, default=1_000, help="how many (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--turns", type=int, default=TURNS, help="length of a run")
    parser.add_argument("--processes", type=int, help="default: as many as there are processors")
    parser.add_argument("--show", type=int, metavar="SEED", help="run one, and print its schedule")
    options = parser.parse_args()
    if options.show is not None:
        outcome = Chaos(options.show, options.turns).run()
        lines = [*outcome.schedule, *(f"FAULT {fault}" for fault in outcome.faults)]
        sys.stdout.write("\n".join(lines) + "\n")
        return bool(outcome.faults)
    seeds = range(options.seed, options.seed + options.runs)
    with counting("runs") as tell:
        tally = run_seeds(seeds, turns=options.turns, processes=options.processes, tell=tell)
    sys.stdout.write("\n".join(tally.lines()) + "\n")
    return bool(tally.failed)


if __name__ == "__main__":
    sys.exit(main())
