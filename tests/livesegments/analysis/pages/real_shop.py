"""A shop of real households: the events sent, and the records on the topics afterwards."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from livesegments.contracts.topics import CHANGES, PURCHASES, STATES
from livesegments.demo.dataset import complete_journey
from tests.service import PARTITIONS, Service, erasure, numbers, profile, purchase

DAY_US = 86_400_000_000
TILE_US = 3 * DAY_US
HOUSEHOLDS, SINCE, MODEL_FROM = 400, "2017-07-01", "2017-08-01"
GONE = ("household-1", "household-22")
"""One is erased at the end; the other withdraws consent to profiling."""


@dataclass(frozen=True, slots=True)
class Shop:
    """The report and the contents of the topics.

    ``purchases`` are the accepted ones; ``counted`` are those of them inside the window rules.
    """

    told: dict[str, Any]
    page: str
    lists: Path
    purchases: pd.DataFrame
    counted: pd.DataFrame
    changes: pd.DataFrame
    states: pd.DataFrame
    exported: pd.DataFrame
    printed: str


def send(service: Service, folder: Path) -> None:
    year, profiles = (pd.read_parquet(each) for each in complete_journey(folder))
    households = sorted(year["customer_id"].unique(), key=int)[:HOUSEHOLDS]
    known = profiles.set_index("customer_id").to_dict("index")
    consents: tuple[dict[str, bool], ...] = ({"marketing": True}, {"marketing": False}, {})
    service.send(
        profile(
            f"household-{each}",
            "2017-01-01T00:00:00Z",
            consent=consents[int(each) % 3],
            **{k: v for k, v in known.get(each, {}).items() if k in ("age", "income")},
        )
        for each in households
    )
    bought = year[year["customer_id"].isin(households)]
    bought = bought[bought["occurred_at"] >= SINCE]
    rows: list[Any] = list(bought.itertuples())
    events = [
        purchase(
            f"household-{row.customer_id}",
            row.occurred_at.isoformat(),
            row.amount,
            event_id=row.event_id,
            category=row.category,
        )
        for row in rows
    ]
    early = int((bought["occurred_at"] < MODEL_FROM).sum())
    service.send(events[:early])
    service.wait_for(service.has_model, "everyone is scored")
    service.send(events[early:])
    service.wait()
    last = rows[-1].occurred_at.isoformat()
    service.send(
        [
            *events[-3:],  # duplicates
            purchase("household-2", "2017-07-02T10:00:00Z", 9.99),  # too late to count
            purchase("household-2", last, 1.0, kind="refund"),
            (PURCHASES, b"household-2", b"not json"),
            (PURCHASES, b"household-3", events[0][2]),  # key does not match
            erasure(GONE[0], last),
            erasure(GONE[1], last, "suppress"),
        ]
    )
    service.wait()


def all_swept(service: Service) -> bool:
    keys = [f"{service.group}:{{{partition}}}:progress" for partition in range(PARTITIONS)]
    found = [numbers(service.client.hgetall(key)) for key in keys]
    newest = max(each["proposed_generation"] for each in found)
    return all(each["swept_generation"] >= newest for each in found)


def accepted(service: Service) -> pd.DataFrame:
    rows = [
        {"partition": record.partition, "key": record.key.decode(), **json.loads(record.value)}
        for record in service.records(PURCHASES)
        if record.value != b"not json"
    ]
    found = pd.DataFrame(rows)
    found = found[found["key"] == found["customer_id"]].drop_duplicates("event_id")
    times = pd.to_datetime(found["occurred_at"], format="ISO8601", utc=True)
    found["us"] = times.dt.as_unit("us").astype("int64")
    return found


def in_window(purchases: pd.DataFrame) -> pd.DataFrame:
    clock = purchases.groupby("partition")["us"].transform("max")
    first = (clock // TILE_US - 29) * TILE_US
    return purchases[(purchases["us"] >= first) & ~purchases["customer_id"].isin(GONE)]


def changes(service: Service) -> pd.DataFrame:
    found = pd.DataFrame([json.loads(record.value) for record in service.records(CHANGES)])
    found["before"] = [ref["id"] if ref else "none" for ref in found["previous_segment"]]
    found["after"] = [ref["id"] if ref else "none" for ref in found["segment"]]
    found["day"] = found["occurred_at"].str[:10]
    return found


def states(service: Service) -> pd.DataFrame:
    """Customers in a segment according to the compacted topic."""
    latest = {
        record.key.decode(): json.loads(record.value) if record.value else None
        for record in service.records(STATES)
    }
    placed = {name: state for name, state in latest.items() if state and state["segment"]}
    return pd.DataFrame(
        {
            "segment": {name: state["segment"]["id"] for name, state in placed.items()},
            "marketing": {name: state["consent"]["marketing"] for name, state in placed.items()},
        }
    )
