"""Synthetic years of purchases, each difficult for a clustering in its own way.

Every stream is drawn with a fixed seed: the same name gives byte-identical events.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from livesegments.contracts.topics import PROFILES, PURCHASES

Floats = NDArray[np.float64]
Events = list[tuple[str, bytes, bytes]]
Draw = Callable[[np.random.Generator], "Stream"]

DAYS = 365.0
FIRST_US = np.datetime64("2024-01-01T00:00:00", "us")
DAY_US = 86_400_000_000
PLACES = np.array(["rural", "suburban", "urban"])

# Five kinds of customers: purchases per day, median amount, age, income, place (0 rural .. 2
# urban).
KINDS = np.array(
    [
        [0.07, 45.0, 31.0, 82_000.0, 1.8],
        [0.05, 70.0, 44.0, 58_000.0, 1.0],
        [0.015, 35.0, 71.0, 27_000.0, 0.3],
        [0.06, 14.0, 21.0, 16_000.0, 1.8],
        [0.15, 140.0, 49.0, 140_000.0, 1.7],
    ]
)


@dataclass(frozen=True, slots=True)
class People:
    """Customers as columns (n,): active period, purchase rate and amount, known profile fields."""

    first_day: Floats
    last_day: Floats
    rate: Floats
    """Purchases per day."""
    amount: Floats
    """Median of a customer's amounts."""
    age: Floats
    income: Floats
    place: Floats
    """0 rural, 1 suburban, 2 urban; NaN, as in age and income, is unknown."""

    def __len__(self) -> int:
        return len(self.rate)


@dataclass(frozen=True, slots=True)
class Stream:
    """Purchases by time, as columns (m,), and the people who make them."""

    people: People
    customer: NDArray[np.int64]
    day: Floats
    amount: Floats

    def events(self) -> Events:
        """Return the profiles and then the purchases: (topic, key, value)."""
        return [*_profiles(self.people), *self._purchases()]

    def _purchases(self) -> Events:
        times = (FIRST_US + (self.day * DAY_US).astype(np.int64)).astype(str).tolist()
        cents = np.clip(np.rint(self.amount * 100), 1, 10**11).astype(np.int64)
        return [
            (
                PURCHASES,
                b"c%d" % name,
                f'{{"event_id":"e{i}","customer_id":"c{name}","occurred_at":"{time}Z",'
                f'"kind":"purchase","amount":{cent // 100}.{cent % 100:02d},'
                f'"currency":"USD"}}'.encode(),
            )
            for i, (name, time, cent) in enumerate(
                zip(self.customer.tolist(), times, cents.tolist(), strict=True)
            )
        ]


def _profiles(people: People) -> Events:
    found: Events = []
    columns = (people.age.tolist(), people.income.tolist(), people.place.tolist())
    for name, (age, income, place) in enumerate(zip(*columns, strict=True)):
        fields = [f'"age":{age:.0f}'] if age == age else []
        fields += [f'"income":{income:.0f}'] if income == income else []
        fields += [f'"location":"{PLACES[int(place)]}"'] if place == place else []
        if fields:
            value = f'"customer_id":"c{name}","updated_at":"2024-01-01T00:00:00Z"'
            value = "{" + ",".join([value, *fields]) + "}"
            found.append((PROFILES, b"c%d" % name, value.encode()))
    return found


def people(rng: np.random.Generator, n: int, known: float = 1.0) -> People:
    """Draw customers of the five kinds, active all year; profile fields known for a share."""
    kind = KINDS[rng.choice(5, n, p=[0.2, 0.3, 0.2, 0.2, 0.1])]
    age = np.clip(rng.normal(kind[:, 2], 7), 18, 99)
    income = kind[:, 3] * rng.lognormal(0, 0.35, n)
    place = np.clip(np.rint(rng.normal(kind[:, 4], 0.5)), 0, 2)
    return People(
        first_day=np.zeros(n),
        last_day=np.full(n, DAYS),
        rate=kind[:, 0] * rng.lognormal(0, 0.4, n),
        amount=kind[:, 1] * rng.lognormal(0, 0.3, n),
        age=_hide(rng, age, known),
        income=_hide(rng, income, known),
        place=_hide(rng, place, known),
    )


def _hide(rng: np.random.Generator, values: Floats, known: float) -> Floats:
    return np.where(rng.random(len(values)) < known, values, np.nan)


def buy(rng: np.random.Generator, who: People, spread: float = 0.5) -> Stream:
    """Draw purchases: log-normal amounts at random times, and one at each customer's arrival."""
    days = np.maximum(who.last_day - who.first_day, 0.0)
    more = rng.poisson(who.rate * days)
    customer = np.repeat(np.arange(len(who)), more + 1)
    share = rng.random(len(customer))
    came = np.append(True, customer[1:] != customer[:-1])
    # A customer exists from the first purchase on.
    wait = np.minimum(rng.exponential(1 / who.rate), days * rng.random(len(who)))
    share[came] = 0.0
    day = who.first_day[customer] + share * days[customer]
    day[came] += np.where(who.first_day > 0, 0.0, wait)
    amount = who.amount[customer] * rng.lognormal(0, spread, len(customer))
    return by_time(Stream(who, customer, day, amount))


def by_time(stream: Stream) -> Stream:
    """Sort purchases by time and drop those past the year."""
    order = np.argsort(stream.day, kind="stable")
    order = order[stream.day[order] < DAYS]
    return replace(
        stream,
        customer=stream.customer[order],
        day=stream.day[order],
        amount=stream.amount[order],
    )


def steady(rng: np.random.Generator) -> Stream:
    """Two thousand stationary customers with complete profiles."""
    return buy(rng, people(rng, 2_000))


def no_demographics(rng: np.random.Generator) -> Stream:
    """No customer's age, income or place is known."""
    return buy(rng, people(rng, 2_000, known=0.0))


def few_profiles(rng: np.random.Generator) -> Stream:
    """Age known for 5 %, income for 2 % and place for 1 % of customers."""
    who = people(rng, 3_000)
    return buy(
        rng,
        replace(
            who,
            age=_hide(rng, who.age, 0.05),
            income=_hide(rng, who.income, 0.02),
            place=_hide(rng, who.place, 0.01),
        ),
    )


def once_only(rng: np.random.Generator) -> Stream:
    """Thirty thousand customers arrive through the year; four in five never return."""
    n = 30_000
    who = people(rng, n, known=0.0)
    loyal = rng.random(n) < 0.2
    return buy(
        rng,
        replace(
            who,
            first_day=np.sort(rng.uniform(0, DAYS, n)),
            rate=np.where(loyal, who.rate / 3, 1e-9),
        ),
    )


def growth(rng: np.random.Generator) -> Stream:
    """From 500 customers to 50,000, by the same factor each month; half of them have profiles."""
    n = 50_000
    who = people(rng, n, known=0.5)
    came = np.log(np.arange(500, n + 500) / 500) / np.log((n + 500) / 500) * DAYS
    return buy(rng, replace(who, first_day=np.maximum(came, 0.0), rate=who.rate / 3))


def drift(rng: np.random.Generator) -> Stream:
    """All customers gradually buy five times less often and spend four times more each time."""
    stream = buy(rng, replace(who := people(rng, 2_000, known=0.5), rate=who.rate * 2))
    passed = stream.day / DAYS
    kept = rng.random(len(passed)) < 5.0**-passed
    return by_time(
        replace(
            stream,
            customer=stream.customer[kept],
            day=stream.day[kept],
            amount=(stream.amount * 4.0**passed)[kept],
        )
    )


def one_kind_moves(rng: np.random.Generator) -> Stream:
    """From the middle on, the young buy six times as often for a tenth of the amount."""
    who = people(rng, 2_000)
    young = who.age < 26
    base = buy(rng, who)
    later = (base.day > DAYS / 2) & young[base.customer]
    again = np.flatnonzero(later).repeat(5)
    amount = base.amount * np.where(later, 0.1, 1.0)
    return by_time(
        replace(
            base,
            customer=np.concatenate([base.customer, base.customer[again]]),
            day=np.concatenate([base.day, rng.uniform(DAYS / 2, DAYS, len(again))]),
            amount=np.concatenate([amount, amount[again]]),
        )
    )


def shrinking(rng: np.random.Generator) -> Stream:
    """Five thousand customers; 95 % have left by the end."""
    who = people(rng, 5_000, known=0.5)
    return buy(rng, replace(who, last_day=np.minimum(rng.exponential(DAYS / 3, len(who)), DAYS)))


def heavy_tails(rng: np.random.Generator) -> Stream:
    """Pareto amounts without a finite mean, and rates over four orders of magnitude."""
    n = 3_000
    who = people(rng, n, known=0.0)
    base = buy(rng, replace(who, rate=np.minimum(0.02 * rng.lognormal(0, 1.5, n), 2.0)))
    return replace(base, amount=5 * (1 + rng.pareto(0.9, len(base.amount))))


def ties(rng: np.random.Generator) -> Stream:
    """Subscribers of one of four plans, billed monthly to the day.

    Hundreds of customers are identical.
    """
    n = 2_000
    plan = np.array([5.0, 10.0, 20.0, 50.0])[rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])]
    who = replace(people(rng, n, known=0.0), amount=plan)
    customer = np.repeat(np.arange(n), 12)
    day = rng.uniform(0, 30, n)[customer] + np.tile(np.arange(12) * 30.0, n)
    return by_time(Stream(who, customer, day, plan[customer]))


def few_distinct(rng: np.random.Generator) -> Stream:
    """Each customer buys once, for 10, 20 or 40: at most three distinct customers."""
    n = 12_000
    who = people(rng, n, known=0.0)
    price = np.array([10.0, 20.0, 40.0])[rng.choice(3, n)]
    return by_time(Stream(who, np.arange(n), rng.uniform(0, DAYS, n), price))


def constant_feature(rng: np.random.Generator) -> Stream:
    """All customers buy once and have the same age; only amounts and incomes differ."""
    n = 12_000
    who = people(rng, n)
    who = replace(who, age=np.full(n, 40.0), place=np.full(n, 2.0))
    return by_time(Stream(who, np.arange(n), rng.uniform(0, DAYS, n), who.amount))


def outliers(rng: np.random.Generator) -> Stream:
    """Ten bots buy eight times a day for cents, and one purchase in a thousand is in millions."""
    who = people(rng, 2_000, known=0.3)
    bots = np.arange(len(who)) >= len(who) - 10
    who = replace(who, rate=np.where(bots, 8.0, who.rate), amount=np.where(bots, 0.01, who.amount))
    base = buy(rng, who)
    huge = rng.random(len(base.amount)) < 0.001
    return replace(base, amount=np.where(huge, 1e7, base.amount))


def shuffled(stream: Stream, rng: np.random.Generator) -> Stream:
    """Return the same purchases, shuffled within each day."""
    order = np.lexsort((rng.random(len(stream.day)), np.floor(stream.day)))
    return replace(
        stream,
        customer=stream.customer[order],
        day=stream.day[order],
        amount=stream.amount[order],
    )


STREAMS: dict[str, Draw] = {
    "steady": steady,
    "no demographics": no_demographics,
    "few profiles": few_profiles,
    "once only": once_only,
    "growth to 50,000": growth,
    "drift": drift,
    "one kind moves": one_kind_moves,
    "shrinking": shrinking,
    "heavy tails": heavy_tails,
    "ties": ties,
    "few distinct": few_distinct,
    "constant feature": constant_feature,
    "bots and outliers": outliers,
}


def draw(name: str) -> Stream:
    """Draw a stream by its name."""
    return STREAMS[name](np.random.default_rng(list(STREAMS).index(name)))
