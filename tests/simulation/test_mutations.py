"""Each protection of the protocol is needed: without it, a run or a scenario ends in a fault.

| protection | detected without it by |
|---|---|
| nonce in the compare | scenario: the same version again after lost commits |
| offsets' metadata checked at the takeover | scenario: a store of another lineage that is ahead |
| futures of the producer checked | random runs |
| membership as of the poll | scenario: removed between commit and transaction |
| group generation checked after the poll | scenario: removed when the poll returns, then stopped |
| no processing during a join | scenario: publishes before its new partitions are known |
| joins are completed | random runs |
| stable offsets | scenario: a takeover during a transaction |
| dead letters in the outbox | random runs |
| reading back to the uncommitted end | scenario: offsets' marker first |
| published state adopted in a recovery | random runs |
| replay ends at Kafka's offsets | random runs |
| consent republished by a recovery | scenario: withdrawn consent in a dropped outbox |
| scoring after a recovery | scenario: a first segment in a dropped outbox |
| a version above all published ones | scenario: only the topics are left |
| a running recovery is recorded | random runs |
| dead letters survive a recovery | random runs |
| published output is not published again | random runs |
| a rejected commit ends ownership | scenario: emptied under its owner |
| evicted keys are noticed at a commit, and at a takeover | scenario: evicted under its owner |
| an idle owner checks the store | scenario: a loss without traffic |
| also of partitions without traffic alone | scenario: a loss beside traffic |
| a new producer after an error | random runs |
| dedup window in the commit | random runs |
| keys in the partition that they belong to | random runs |
| the content of an event beside its id | random runs |
| only counted events are causes | random runs |
| refusals of consent survive erasures | random runs |
| the last profile in the log wins | random runs |
| a tombstone deletes everything | random runs |
| a null state despite a stored refusal | scenario: only a refusal is left |
| a customer with data from after an erasure is scored again | scenario: the erasure comes late |
| the place of each change is stored | random runs |
| a recovery keeps the places of published changes only | scenario: a published change is lost |
| backoff before a takeover that fails | scenario: deleted unread, and older than any window |
| offsets pass markers when idle and at a stop | scenarios: a marker deleted at a log's end |
| deleted unread records are detected | scenario: deleted unread, accepted |
| a lost store needs its window in the log | scenario: one purchase is left |
| a store survives deleted unread records | the same |
| a lost store with an empty log is detected | scenario: all purchases and the store are gone |
| changes of a rebuilt store name their origin | the same |
| the wall clock of a lost store | scenario: idle past the window |
| a log that ends before the read offset | scenario: its end is cut off |
| a replay bounded by the log's end | scenario: its end is cut off, and the store lost |
| inputs that were created again are detected | scenario: a topic is deleted and created again |
| nothing is added to a blocked outbox | scenario: outputs fail for long |
| transactions are bounded | random runs |
| oldest versions first | scenario: a part is published |
| metadata as of the version | scenario: a part is published |
| offsets as of the version | scenario: a part is published and the store lost |
| offsets not before Kafka's | scenario: a part of another lineage is published |
| surviving dead letters have their offsets | the same |
| dead letters of a replay are published together | scenario: the same without offsets |
| clocks are compared | scenario: a worker's clock is two years behind |
| also with the newest purchase | scenario: worker and store are two years behind |
| a micro-batch's time is bounded by Redis' | scenario: a clock that jumps and comes back |
| so is a partition's clock | scenario: a purchase dated two years ahead |

The scenarios are schedules that random runs would take thousands of seeds to find.

Each protection is removed under another segmentation in turn, or all under the one that
``LIVESEGMENTS_SIMULATION_SEGMENTATION`` names.
"""

import os
from random import Random
from zlib import crc32

import pytest

from livesegments.features.segmentation import Segmentation
from tests.segmentations import NAMED
from tests.simulation.chaos import Chaos
from tests.simulation.harness import World
from tests.simulation.invariants import faults
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.scenario_helpers import RestlessError
from tests.simulation.scenarios import PLANS

# In parallel runs, files with long tests come first.
pytestmark = pytest.mark.timeout(400)

SEEDS = range(120)
WORLDS = range(1, 6)
SEGMENTATION = os.environ.get("LIVESEGMENTS_SIMULATION_SEGMENTATION")
FIRST = {
    "futures": 43,
    "joins are ended": 1,
    "dead letters in the outbox": 3,
    "adoption": 18,
    "bound of the replay": 2,
    "recovery under way": 53,
    "dead letters kept": 3,
    "only unpublished records": 5,
    "new producer after an error": 3,
    "transactions are bounded": 20,
    "keys in their partition": 3,
    "content of an event id": 8,
    "seen events": 12,
    "causes that counted": 5,
    "refusals survive erasures": 17,
    "the last profile counts": 14,
    "a null leaves nothing": 3,
    "place of a change": 5,
}
"""Seeds known to find a fault, tried before the others; any other would do."""
SHOWN = {
    "nonce": "records",
    "seen": "chain",
    "futures": "chain",
    "membership at poll": "ids",
    "generation at poll": "ids",
    "assignment at poll": "chain",
    "joins are ended": "does not come to rest",
    "stable offsets": "ids",
    "dead letters in the outbox": "dead letters",
    "uncommitted end": "chain",
    "adoption": "chain",
    "bound of the replay": "dead letters",
    "consent stated again": "state",
    "scoring after a recovery": "scores",
    "version above all published": "chain",
    "recovery under way": "dead letters",
    "dead letters kept": "dead letters",
    "only unpublished records": "chain",
    "refusals": "chain",
    "sizes at a commit": "records",
    "sizes at a takeover": "does not come to rest",
    "look at the store when idle": "does not come to rest",
    "look at the store of idle partitions": "does not come to rest",
    "new producer after an error": "does not come to rest",
    "keys in their partition": "partitions",
    "content of an event id": "records",
    "seen events": "records",
    "causes that counted": "causes",
    "refusals survive erasures": "records",
    "the last profile counts": "records",
    "a null leaves nothing": "records",
    "a null state beside a refusal": "erasures",
    "a segment again after an erasure": "scores",
    "place of a change": "places",
    "places in a recovery": "places",
    "pause before a takeover": "does not come to rest",
    "offsets past markers": "a worker ended by DataLossError",
    "offsets past markers at a stop": "a worker ended by DataLossError",
    "unread records": "continues without the lost records",
    "a window of a lost store": "continues without the lost records",
    "a store with unread records gone is kept": "the store was emptied",
    "no purchase left": "continues without the lost records",
    "origin of a recovery": "changes say",
    "wall clock of a lost store": "a worker ended by DataLossError",
    "ends of logs": "continues without the lost records",
    "topics created again": "continues without the lost records",
    "replay within the log": "does not come to rest",
    "nothing is added to an outbox that waits": "outbox",
    "transactions are bounded": "transaction",
    "oldest versions first": "dead letters",
    "metadata as of the version": "dead letters",
    "offsets as of the version": "dead letters",
    "dead letters kept have their offsets": "dead letters",
    "dead letters of a replay go together": "dead letters",
    "offsets not before Kafka's": "customer-profiles.v1-0: offsets went back",
    "clocks compared": "times",
    "newest purchase compared": "times",
    "bound of the wall clock": "clocks",
    "bound of a partition's clock": "clocks",
}
"""The reported fault when the protection is missing."""


def segmentation_of(protection: str) -> Segmentation:
    """Return the segmentation under which a protection is removed."""
    if protection == "look at the store of idle partitions":
        return NAMED["personas"]  # under rfm something else notices the loss as well
    # By name: another protection in the list must not change what seeds find.
    names = list(NAMED)
    return NAMED[SEGMENTATION or names[crc32(protection.encode()) % len(names)]]


def follow(plan: str, seed: int) -> list[str]:
    """Return the faults at the end of a scenario in the world of a seed."""
    with World(Random(seed), segmentation=segmentation_of(plan)).in_place() as world:
        try:
            PLANS[plan](world)
        except RestlessError as restless:
            return [str(restless), *faults(world)]
        return faults(world)


@pytest.mark.parametrize("protection", PLANS)
def test_a_plan_ends_in_a_fault_without_the_protection_it_needs(protection: str) -> None:
    # In some worlds chance protects: a new generation of centroids, say, shows a loss as well.
    with mutated(protection):
        world = next(w for w in WORLDS if _broken(follow(protection, w), protection))
    assert follow(protection, world) == []


@pytest.mark.parametrize("protection", [name for name in MUTATIONS if name not in PLANS])
def test_chance_finds_that_a_protection_is_gone(protection: str) -> None:
    segmentation = segmentation_of(protection)
    with mutated(protection):
        seeds = (FIRST.get(protection, 0), *SEEDS)
        runs = (Chaos(seed, segmentation=segmentation).run().faults for seed in seeds)
        found = next(found for found in runs if _broken(found, protection))
    assert found


def _broken(found: list[str], protection: str) -> bool:
    return any(fault.startswith(SHOWN[protection]) for fault in found)
