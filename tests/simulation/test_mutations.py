"""Each protection of the protocol is needed: without it, a run or a plan ends in a fault.

| protection | what finds its loss |
|---|---|
| nonce in the compare | plan: the same version again after lost commits |
| offsets' metadata seen at the takeover | plan: a store of another line that is ahead |
| futures checked | random runs |
| membership as of the poll | plan: out between commit and transaction |
| generation checked after the poll | plan: out when the poll returns, then stopped |
| nothing is done within a join | plan: publishes before its new partitions are known |
| a join that has begun is ended | random runs |
| stable offsets | plan: a takeover beside a transaction |
| dead letters in the outbox | random runs |
| reading back to the uncommitted end | plan: offsets' marker first |
| published state adopted in a recovery | random runs |
| replay ends at Kafka's offsets | random runs |
| consent stated anew in a recovery | plan: a consent withdrawn in the outbox that is dropped |
| scoring after a recovery | plan: a first segment in the outbox that is dropped |
| a version above all published | plan: only the topics are left |
| a recovery under way is known | random runs |
| dead letters kept in a recovery | random runs |
| only what is not published is published | random runs |
| a refused commit ends ownership | plan: emptied under its owner |
| an idle owner looks at the store | plan: a loss without traffic |
| a new producer after an error | random runs |
| ring of seen events in the commit | random runs |
| a cause is an event that counted | random runs |
| refusals of consent survive erasures | random runs |
| the last profile of the log counts | random runs |
| a null leaves nothing | random runs |
| a null state beside a refusal that is kept | random runs |
| a pause before a takeover that ends | plan: deleted unread, and older than any window |
| offsets pass markers when idle, and at a stop | plans: a marker is deleted at a log's end |
| unread records that are gone are looked for | plan: deleted unread, accepted |
| the window of a lost store is looked for | plan: one purchase is left |
| a store is kept though unread records are gone | the same |
| a lost store where no purchase is left | plan: all purchases and the store are gone |
| changes of a store made anew say so | the same |
| the wall clock of a lost store | plan: idle past the window |
| a log that ends before what was read of it | plan: its end is cut off |
| a replay that ends with the log | plan: its end is cut off, and the store lost |
| nothing is added to an outbox that waits | plan: outputs fail for long |
| transactions are bounded | random runs |
| oldest versions first | plan: a part is published |
| metadata as of the version | plan: a part is published |
| offsets as of the version | plan: a part is published and the store lost |
| offsets not before Kafka's | plan: a part of another line is published |
| dead letters kept have their offsets | the same plan |
| dead letters of a replay go together | plan: the same without offsets |
| clocks are compared | plan: a worker whose clock is two years behind |
| with the newest purchase too | plan: worker and store are two years behind |
| a round's time is bounded by Redis' | plan: a clock that jumps and comes back |
| so is a partition's clock | plan: a purchase dated two years ahead |

The plans are those that chance would take thousands of runs to find.
"""

from random import Random

import pytest

from tests.simulation.chaos import Chaos
from tests.simulation.harness import World
from tests.simulation.invariants import faults
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.scenario_helpers import RestlessError
from tests.simulation.scenarios import PLANS

SEEDS = range(120)
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
    "consent stated anew": "state",
    "scoring after a recovery": "scores",
    "version above all published": "chain",
    "recovery under way": "dead letters",
    "dead letters kept": "dead letters",
    "only what is not published": "chain",
    "refusals": "chain",
    "look at the store when idle": "does not come to rest",
    "new producer after an error": "does not come to rest",
    "seen events": "records",
    "causes that counted": "causes",
    "refusals survive erasures": "records",
    "the last profile counts": "records",
    "a null leaves nothing": "records",
    "a null state beside a refusal": "erasures",
    "pause before a takeover": "does not come to rest",
    "offsets past markers": "a worker ended by DataLossError",
    "offsets past markers at a stop": "a worker ended by DataLossError",
    "unread records": "goes on without what is lost",
    "a window of a lost store": "goes on without what is lost",
    "a store with unread records gone is kept": "the store was emptied",
    "no purchase left": "goes on without what is lost",
    "origin of a recovery": "changes say",
    "wall clock of a lost store": "a worker ended by DataLossError",
    "ends of logs": "goes on without what is lost",
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
"""The guarantee that is then broken."""


def follow(plan: str) -> list[str]:
    """Return the faults that a plan ends in."""
    with World(Random(1)).in_place() as world:
        try:
            PLANS[plan](world)
        except RestlessError as restless:
            return [str(restless), *faults(world)]
        return faults(world)


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_ends_well(plan: str) -> None:
    assert follow(plan) == []


@pytest.mark.parametrize("protection", PLANS)
def test_a_plan_ends_in_a_fault_without_the_protection_it_needs(protection: str) -> None:
    with mutated(protection):
        found = follow(protection)
    assert _broken(found, protection), found


@pytest.mark.parametrize("protection", [name for name in MUTATIONS if name not in PLANS])
def test_chance_finds_that_a_protection_is_gone(protection: str) -> None:
    with mutated(protection):
        found = next(
            found for seed in SEEDS if _broken(found := Chaos(seed).run().faults, protection)
        )
    assert found


def _broken(found: list[str], protection: str) -> bool:
    return any(fault.startswith(SHOWN[protection]) for fault in found)
