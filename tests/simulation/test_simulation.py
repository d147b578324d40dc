"""All guarantees hold after any faults in any order, once the faults have ended.

``make explore`` runs thousands of seeds; once a day the workflow does.
"""

import os

import pytest

from tests.simulation.chaos import RATES, TURNS, Chaos
from tests.simulation.runner import run_seed, run_seeds

RUNS = int(os.environ.get("LIVESEGMENTS_SIMULATION_RUNS", "40"))


@pytest.mark.timeout(1_800)
def test_every_promise_holds_whatever_breaks() -> None:
    # Where other tests run in parallel, a pool would only import everything again.
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    tally = run_seeds(range(RUNS), processes=None if alone else 1)
    # A schedule without faults would prove nothing: rare ones take more seeds, of many faults each.
    for seed in range(RUNS + len(RATES) - 1, 10 * RUNS, len(RATES)):
        if all(tally.injected[fault] for fault in FAULTS):
            break
        tally.add(run_seed(seed, TURNS))
    shown = [line for outcome in tally.failed[:1] for line in outcome.schedule]
    assert not tally.failed, "\n".join([*shown, *tally.lines()])
    assert [fault for fault in FAULTS if not tally.injected[fault]] == []


FAULTS = (
    "lost call",
    "unknown call",
    "late call",
    "crash",
    "freeze",
    "put out of the group",
    "leave",
    "join",
    "lost commits",
    "older store",
    "empty store",
    "offsets lost",
    "offsets reset",
    "transactions time out",
    "compaction",
    "compaction of profiles",
    "retention",
    "deletion",
    "wrong clock",
    "wrong clock of the store",
    "cut end",
)


def test_a_run_is_a_function_of_its_seed() -> None:
    once, again = Chaos(13).run(), Chaos(13).run()
    assert _told(once.schedule) == _told(again.schedule)
    assert once.injected


def _told(schedule: list[str]) -> list[str]:
    """Return the schedule without lines that name a nonce, which comes from the system."""
    return [line for line in schedule if not line.startswith("    ")]
