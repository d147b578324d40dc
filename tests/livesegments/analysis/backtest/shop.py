"""A synthetic history: five kinds of customers with stable habits; some change them."""

import csv
from pathlib import Path

import numpy as np

from livesegments.analysis.backtest.simulator import Event, EventDecoder, Simulator, Step
from livesegments.app import processing_config
from livesegments.config.settings import Settings
from livesegments.contracts.topics import PURCHASES

DAYS, CUSTOMERS = 60, 60
KINDS = ((0.1, 20.0), (0.3, 15.0), (0.6, 12.0), (0.8, 40.0), (1.5, 60.0))
"""Purchases per day and their amount."""

Row = tuple[str, str, float]
"""Customer, time, amount."""


def rows(seed: int = 0, days: int = DAYS, customers: int = CUSTOMERS) -> list[Row]:
    """Purchases by time; every seventh customer is of another kind in the second half."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(customers):
        for day in range(days):
            kind = KINDS[(i + (i % 7 == 0 and day > days / 2)) % 5]
            for hour in rng.uniform(0, 24, rng.poisson(kind[0])).tolist():
                at = np.datetime64("2026-01-01T00:00:00") + round((day * 24 + hour) * 3600)
                found.append((f"c{i}", f"{at}Z", round(kind[1] * rng.lognormal(0, 0.2), 2)))
    return sorted(found, key=lambda row: row[1])


def write(path: Path, purchases: list[Row], **more: str) -> Path:
    """Write purchases as CSV; ``more`` are columns with the same value in every row."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "occurred_at", "amount", *more])
        writer.writerows([*row, *more.values()] for row in purchases)
    return path


def settings(**changed: object) -> Settings:
    """Settings for a small shop, independent of the environment."""
    small = {"window_days": 20, "tiles": 10, "warmup_customers": 30}
    return Settings(_env_file=None, **{**small, **changed})  # type: ignore[arg-type]


def history(**changed: object) -> Simulator:
    """A history under these settings."""
    given = settings(**changed)
    gain = given.refit_gain if given.refit == "auto" else None
    return Simulator(processing_config(given), given.warmup_customers, gain)


def events(purchases: list[Row]) -> list[Event]:
    """Purchases as on their topic."""
    return [
        (
            PURCHASES,
            name.encode(),
            f'{{"event_id":"e{i}","customer_id":"{name}","occurred_at":"{at}","kind":"purchase",'
            f'"amount":{amount},"currency":"USD"}}'.encode(),
        )
        for i, (name, at, amount) in enumerate(purchases)
    ]


def feed(to: Simulator, stream: list[Event], size: int = 50) -> list[Step]:
    """Feed a history in micro-batches of one size; return all steps."""
    polls = EventDecoder()
    return [
        step
        for start in range(0, len(stream), size)
        for step in to.feed(polls.batch(stream[start : start + size], to))
    ]
