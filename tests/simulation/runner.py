"""Many runs, on all processors."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulation.chaos import TURNS, Chaos, Outcome


@dataclass
class Tally:
    """Outcomes of many runs."""

    runs: int = 0
    points: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count a run."""
        self.runs += 1
        self.points += outcome.points
        self.injected += Counter(outcome.injected)
        if outcome.faults:
            self.failed.append(outcome)

    def lines(self) -> list[str]:
        """Render as text."""
        broken = sum(self.injected.values())
        kinds = ", ".join(f"{n} {fault}" for fault, n in self.injected.most_common())
        lines = [
            f"{self.runs} runs, {self.points} points at which workers could be stopped,"
            f" {broken} things broken: {kinds or 'none'}",
        ]
        for outcome in self.failed:
            lines += [f"seed {outcome.seed}:", *(f"  - {fault}" for fault in outcome.faults)]
            lines.append(f"  python -m tests.simulation --show {outcome.seed}")
        lines.append(f"{len(self.failed)} runs failed")
        return lines


def run_seeds(
    seeds: Iterable[int],
    *,
    turns: int = TURNS,
    processes: int | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Run each seed; ``tell`` is called with the number of completed runs."""
    tally = Tally()
    for outcome in _outcomes(list(seeds), turns, processes or os.cpu_count() or 1):
        tally.add(outcome)
        tell(tally.runs)
    return tally


def _outcomes(seeds: list[int], turns: int, processes: int) -> Iterator[Outcome]:
    if processes == 1:
        yield from (run_seed(seed, turns) for seed in seeds)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_seed, seeds, [turns] * len(seeds), chunksize=5)


def run_seed(seed: int, turns: int) -> Outcome:
    """Run one seed; the schedule is left out when nothing failed."""
    outcome = Chaos(seed, turns).run()
    if not outcome.faults:
        outcome.schedule = []
    return outcome
