"""Input events: purchases, refunds, profiles, erasures, duplicates and invalid records.

Customer ``gojeePN`` belongs to partition P of two, by murmur2.
"""

import json
from random import Random

from livesegments.contracts.topics import PROFILES, PURCHASES
from tests.consumers.harness import DAY, erasure, profile, purchase, topic_of
from tests.simulation.cluster import PARTITIONS

CUSTOMERS = 5
FIRST_DAY = 20_000.0

Event = tuple[str, int, bytes | None, bytes | None]
"""Topic, partition, key and value."""


class Inputs:
    """Generates events of a few customers, each with a fixed partition and habits.

    Attributes
    ----------
    day
        The current time, in days since the epoch.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.day = FIRST_DAY
        self._made = 0
        self._last: list[Event] = []
        self._profiles: list[Event] = []
        self._about: tuple[int, int] = (0, 0)

    def first(self) -> list[Event]:
        """Return enough events for a model: a purchase and a profile of most customers."""
        events: list[Event] = []
        for partition in range(PARTITIONS):
            for number in range(CUSTOMERS):
                customer = f"gojee{partition}{number}"
                events.append(self.event(self._purchase(customer, number), partition))
                if number % 2:
                    events.append(self.event(self._profile(customer, number), partition))
        return events

    def next(self) -> Event:
        """Return one more event; time advances a little."""
        rng = self._rng
        self.day += rng.choice((0, 0, 0.02, 0.1)) if rng.random() < 0.97 else rng.choice((1, 2, 5))
        # Often the same customer in a row, so that requests, profiles and purchases share a tile.
        if rng.random() < 0.7:
            self._about = rng.randrange(PARTITIONS), rng.randrange(CUSTOMERS)
        partition, number = self._about
        customer = f"gojee{partition}{number}"
        kind = rng.random()
        if kind < 0.08 and self._last:
            return self._again(rng.choice(self._last))
        if kind < 0.11 and self._profiles:
            return rng.choice(self._profiles)
        if kind < 0.22:
            return self._bad(customer, partition)
        if kind < 0.25:
            return PROFILES, partition, customer.encode(), None
        if kind < 0.37:
            taste = number if rng.random() < 0.5 else rng.randrange(CUSTOMERS)
            event = self._any_profile(customer, taste)
        elif kind < 0.43:
            action = rng.choice(("erase", "erase", "erase", "suppress", "restore", "restore"))
            event = erasure(customer, self.day - rng.choice((0, 1, 3)), action)
        else:
            taste = number if rng.random() < 0.6 else rng.randrange(CUSTOMERS)
            event = self._purchase(customer, taste)
        made = self.event(event, partition)
        if made[0] == PURCHASES:
            self._last = [*self._last[-4:], made]
        elif made[0] == PROFILES:
            self._profiles = [*self._profiles[-4:], made]
        return made

    def _again(self, event: Event) -> Event:
        """Return a purchase again, at times with other content under the same id."""
        topic, partition, key, value = event
        if self._rng.random() < 0.7 or value is None:
            return event
        other = json.loads(value)
        other["amount"] = round(other["amount"] * self._rng.choice((0.5, 3)), 2)
        return topic, partition, key, json.dumps(other).encode()

    def event(self, event: dict[str, object], partition: int) -> Event:
        """Encode an event for its topic."""
        key = str(event["customer_id"]).encode()
        return topic_of(event), partition, key, json.dumps(event).encode()

    def _purchase(self, customer: str, taste: int) -> dict[str, object]:
        self._made += 1
        rng = self._rng
        amount = round((5, 40, 90, 300, 2_000)[taste] * (0.7 + rng.random()), 2)
        if rng.random() < 0.1:
            amount = -amount
        day = self.day - rng.choice((0, 0, 0, 0.5, 2, 5))
        return purchase(customer, day, amount, event_id=f"e{self._made}")

    def _profile(self, customer: str, taste: int) -> dict[str, object]:
        age, income, place = (
            (20, 15_000, "urban"),
            (33, 60_000, "urban"),
            (45, 90_000, "suburban"),
            (70, 30_000, "rural"),
            (50, 250_000, "suburban"),
        )[taste]
        known = {"age": age, "income": income, "location": place}
        consent = {"marketing": self._rng.choice((True, False, None))}
        return profile(customer, self.day, **known, consent=consent)

    def _any_profile(self, customer: str, taste: int) -> dict[str, object]:
        """Return a profile with any time, which may refuse consent or contain nothing else.

        Only the order of the log counts, not the times, which may be equal, late, or ahead of the
        broker's clock by less than the limit.
        """
        rng = self._rng
        told = self._profile(customer, taste)
        day = self.day + rng.choice((0, 0, 2 / 1_440, -0.5, -1, -3))
        consent = {
            "marketing": rng.choice((True, False, None)),
            "profiling": rng.choice((True, None, None, None, False)),
        }
        known = ("age", "income", "location") if rng.random() < 0.8 else ()
        event = profile(customer, day, **{name: told[name] for name in known}, consent=consent)
        if consent["profiling"] is False and self._made % 2:
            event["income"] = 0  # a dead letter whose consents count
        return event

    def _bad(self, customer: str, partition: int) -> Event:
        topic, _, key, value = self.event(self._purchase(customer, 0), partition)
        assert value is not None
        future = json.dumps(purchase(customer, self.day + 1)).encode()
        return self._rng.choice(
            (
                (topic, partition, key, value[: len(value) // 2]),
                (topic, partition, key, None),
                (topic, partition, None, None),
                (topic, partition, b"someone else", value),
                (topic, 1 - partition, key, value),
                (PROFILES, 1 - partition, key, None),
                (topic, partition, key, future),
                (topic_of(erasure(customer, 0)), partition, key, b"\xff"),
                (topic_of(profile(customer, 0)), partition, key, b"{}"),
            )
        )

    @property
    def wall_us(self) -> int:
        """The wall clock of this world, in microseconds."""
        return round(self.day * DAY)
