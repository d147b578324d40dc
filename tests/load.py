"""Input of the fault tests and the soak."""

from datetime import UTC, datetime, timedelta

import numpy as np

from tests.service import Event, erasure, profile, purchase

START = datetime(2024, 1, 1, tzinfo=UTC)


def load(
    n: int, customers: int = 400, seed: int = 0, first: int = 0, minutes: int = 10
) -> list[Event]:
    """Return a mixed load: purchases, refunds, profiles, erasures and invalid records.

    Event time advances by some minutes per event, so that windows move and segments change.
    """
    rng = np.random.default_rng(seed)
    spenders = rng.lognormal(3, 1, customers)
    events: list[Event] = []
    for i in range(first, first + n):
        customer = f"c{int(customers * rng.random() ** 2):04d}"
        at = (START + timedelta(minutes=minutes * i)).isoformat()
        kind = rng.random()
        if kind < 0.90:
            amount = round(float(spenders[int(customer[1:])] * rng.random()) + 0.01, 2)
            refund = {"kind": "refund"} if rng.random() < 0.05 else {}
            events.append(purchase(customer, at, amount, event_id=f"e{i}", **refund))
        elif kind < 0.96:
            known = {"age": int(rng.integers(18, 90)), "income": int(rng.integers(10, 200)) * 1000}
            location = str(rng.choice(["urban", "suburban", "rural"]))
            events.append(profile(customer, at, location=location, **known))
        elif kind < 0.97:
            events.append(erasure(customer, at))
        else:
            topic, key, value = purchase(customer, at, event_id=f"e{i}")
            bad = rng.integers(4)
            whole = value or b""
            value = (whole[: len(whole) // 2], b"\xff\x00", None, whole)[bad]
            events.append((topic, key if bad < 3 else b"someone else", value))
    return events
