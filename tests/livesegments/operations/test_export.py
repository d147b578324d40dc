"""Export of every customer's row, from Redis."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import redis

from livesegments.features.erasures import Action, Marker, marker_key
from livesegments.features.record_codec import Records, RecordShape, empty, encode
from livesegments.features.window import DAY_US, Tiling
from livesegments.operations import customer_scan
from livesegments.operations.customer_scan import UnsettledError
from livesegments.operations.export import export
from livesegments.store.checkpoint import FROM_NOTHING, Checkpoint
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Commit, Partitions
from tests.segmentations import PERSONAS
from tests.servers import KafkaServer, RedisServer
from tests.service import PARTITIONS, Service, erasure, profile, purchase, running
from tests.stored import read_partition

pytestmark = pytest.mark.servers

TILES = 30
SEGMENTS = PERSONAS.segment_ids
LAYOUT = Tiling(90, TILES)
CLOCK_US = 20_000 * DAY_US
HEAD = LAYOUT.tile(CLOCK_US)
COLUMNS = [
    "customer_id",
    "segment",
    "since",
    "version",
    "cluster",
    "purchases",
    "spend",
    "age",
    "income",
    "location",
]


@pytest.fixture
def store(fresh_redis: RedisServer) -> Iterator[Partitions]:
    """A store after a worker with two partitions has run."""
    with redis.Redis.from_url(fresh_redis.url, protocol=2) as client:
        made = Partitions(client, "group")
        made.agree(
            Deployment(
                partitions=2,
                window_days=90,
                tiles=TILES,
                currency="USD",
                dedup_events=0,
                segments=SEGMENTS,
                features=PERSONAS.feature_names,
            )
        )
        yield made


def bought(cents: dict[int, int], **fields: Any) -> Records:
    """Return a record with one purchase in each of some tiles."""
    record = empty(1, RecordShape(TILES, 5, 5))
    record["head"] = max(cents, default=HEAD)
    for tile, amount in cents.items():
        record["counts"][0, tile % TILES] = 1
        record["cents"][0, tile % TILES] = amount
    for name, value in fields.items():
        record[name] = value
    return record


def put(
    store: Partitions,
    records: dict[str, Records],
    others: dict[str, Records] | None = None,
    markers: dict[str, Marker] | None = None,
) -> None:
    """Store records of partition 0, and those of partition 1."""
    kept = {marker_key(n, "group"): m.to_bytes() for n, m in (markers or {}).items()}
    for partition, these in enumerate([records, others or {}]):
        commit = Commit(
            partition,
            None,
            Checkpoint(version=1, nonce="00000000000000aa", clock_us=CLOCK_US),
            records={name: encode(record)[0] for name, record in these.items()},
            erasures={} if partition else kept,
        )
        assert store.commit([commit]) == [True]


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return list(pq.read_table(path).to_pylist())


KNOWN = bought(
    {HEAD: 1_999, HEAD - 3: 10},
    segment=1,
    cluster=4,
    since=CLOCK_US,
    version=7,
    age=41,
    income=52_000,
    urbanicity=0.5,
)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_row_has_what_is_known_and_the_window(
    store: Partitions, tmp_path: Path, suffix: str
) -> None:
    put(store, {'Zoë, "z"': KNOWN}, {"new": bought({HEAD: 500})})
    path = tmp_path / f"out{suffix}"
    assert export(store, path) == 2
    first, second = rows(path)
    assert list(first) == list(second) == COLUMNS
    text = suffix == ".csv"
    nothing = "" if text else None
    assert {k: str(v) if text else v for k, v in first.items()} == {
        "customer_id": 'Zoë, "z"',
        "segment": SEGMENTS[1],
        "since": first["since"],
        "version": "7" if text else 7,
        "cluster": "4" if text else 4,
        "purchases": "2" if text else 2,
        "spend": "20.09" if text else 20.09,
        "age": "41.0" if text else 41.0,
        "income": "52000.0" if text else 52_000.0,
        "location": "suburban",
    }
    assert datetime.fromisoformat(first["since"]) == datetime.fromtimestamp(
        CLOCK_US / 1_000_000, UTC
    )
    for name in ("segment", "since", "cluster", "age", "income", "location"):
        assert second[name] == nothing


def test_the_window_ends_at_the_clock_of_the_partition(store: Partitions, tmp_path: Path) -> None:
    oldest = HEAD - TILES + 1
    put(
        store,
        {
            "edge": bought({oldest: 100}),
            "before": bought({oldest - 1: 100}),
            "both": bought({oldest: 100, oldest - 1: 7}),
        },
    )
    path = tmp_path / "out.csv"
    export(store, path)
    found = {row["customer_id"]: (row["purchases"], row["spend"]) for row in rows(path)}
    assert found == {"edge": ("1", "1.00"), "before": ("0", "0.00"), "both": ("1", "1.00")}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_spend_is_exact_to_the_cent(store: Partitions, tmp_path: Path, suffix: str) -> None:
    amounts = (1, 10, 29, 115, -250, 1_000_000_000_07, 9_007_199_254_740_99)
    put(store, {str(cents): bought({HEAD: cents}) for cents in amounts})
    path = tmp_path / f"out{suffix}"
    assert export(store, path) == len(amounts)
    for row in rows(path):
        cents = int(row["customer_id"])
        sign, whole = "-" if cents < 0 else "", f"{abs(cents):03d}"
        assert f"{float(row['spend']):.2f}" == f"{sign}{whole[:-2]}.{whole[-2:]}"


def test_whoever_is_erased_or_suppressed_has_no_row(store: Partitions, tmp_path: Path) -> None:
    now, hour = CLOCK_US, 3_600_000_000
    suppressed = Marker().after(Action.SUPPRESS, now - hour, LAYOUT)
    put(
        store,
        {
            "plain": KNOWN,
            "erased": bought({}, erased=True),
            "erased-then-bought": bought({HEAD: 1}, erased=True),
            "suppressed": bought({HEAD: 1}),
            "restored": bought({HEAD: 1}),
            "marked": bought({HEAD: 1}),
        },
        markers={
            "suppressed": suppressed,
            "restored": suppressed.after(Action.RESTORE, now, LAYOUT),
            "marked": Marker().after(Action.ERASE, now, LAYOUT),
        },
    )
    path = tmp_path / "out.jsonl"
    assert export(store, path) == 4
    assert {row["customer_id"] for row in rows(path)} == {
        "plain",
        "erased-then-bought",
        "restored",
        "marked",
    }


def test_a_customer_the_walk_gives_twice_is_written_once(
    store: Partitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customer_scan, "CHUNK", 100)
    put(store, {f"c{i}": bought({HEAD: i + 1}) for i in range(1_000)})
    walk = store.customers

    def again(partition: int, count: int) -> Iterator[tuple[str, bytes]]:
        # Simulates growth of the hash during the scan, which no test can trigger reliably.
        yield from walk(partition, count)
        yield from walk(partition, count)

    monkeypatch.setattr(store, "customers", again)
    totals: list[int] = []
    path = tmp_path / "out.csv"
    assert export(store, path, totals.append) == 1_000
    assert sorted(row["customer_id"] for row in rows(path)) == sorted(f"c{i}" for i in range(1_000))
    assert len(totals) >= 10
    assert totals == sorted(totals)
    assert totals[-1] == 1_000


def test_a_failed_export_leaves_the_old_file_and_nothing_else(
    store: Partitions, tmp_path: Path
) -> None:
    path = tmp_path / "out.csv"
    put(store, {"c": KNOWN})
    export(store, path)
    before = path.read_bytes()
    store.redis.hset(store.keys(0).customers, "broken", b"\x07")
    with pytest.raises(ValueError, match="format 7"):
        export(store, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_that_is_being_made_anew_is_not_exported(store: Partitions, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    put(store, {"c": KNOWN}, {"d": KNOWN})
    export(store, path)
    before = path.read_bytes()
    store.redis.hset(store.keys(1).progress, "recovering", FROM_NOTHING)
    with pytest.raises(UnsettledError, match="a recovery of partition 1 is under way"):
        export(store, path)
    store.redis.unlink(*store.keys(1))
    with pytest.raises(UnsettledError, match="partition 1"):
        export(store, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("partitions", [[0], [0, 1]])
def test_a_store_that_is_emptied_meanwhile_is_not_exported(
    store: Partitions, tmp_path: Path, partitions: list[int]
) -> None:
    def empty_it(_: int) -> None:
        for partition in partitions:
            store.redis.unlink(*store.keys(partition))

    put(store, {"c": KNOWN}, {"d": KNOWN})
    with pytest.raises(UnsettledError, match="partition 0"):
        export(store, tmp_path / "out.csv", empty_it)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_deployment_gives_an_empty_table(store: Partitions, tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = tmp_path / f"out{suffix}"
        assert export(store, path) == 0
        assert rows(path) == []
    assert (tmp_path / "out.csv").read_text("utf-8").strip() == ",".join(COLUMNS)
    assert pq.read_table(tmp_path / "out.parquet").column_names == COLUMNS


def test_before_any_worker_ran_there_is_nothing_to_export(
    fresh_redis: RedisServer, tmp_path: Path
) -> None:
    with (
        redis.Redis.from_url(fresh_redis.url, protocol=2) as client,
        pytest.raises(RuntimeError, match="start a worker first"),
    ):
        export(Partitions(client, "group"), tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(120)
def test_beside_a_worker_the_rows_are_the_store(
    fresh_kafka: KafkaServer, fresh_redis: RedisServer, tmp_path: Path
) -> None:
    people = [f"c{i:02d}" for i in range(80)]
    events = [
        purchase(p, f"2024-01-{1 + day:02d}T10:00:00Z", round(3.33 + i * 1.01, 2))
        for day in range(3)
        for i, p in enumerate(people)
    ]
    events += [profile(p, "2024-01-01T00:00:00Z", age=30, location="urban") for p in people[:40]]
    events += [erasure("c70", "2024-01-20T00:00:00Z")]
    events += [erasure("c71", "2024-01-20T00:00:00Z", "suppress")]
    service = Service(fresh_kafka, fresh_redis, tmp_path)
    with running(service):
        service.send(events)
        service.wait_for(service.has_model, "everyone is scored")
        service.wait()
        path = tmp_path / "out.jsonl"
        assert export(Partitions(service.client, "livesegments"), path) == 78
        for name in ("csv", "jsonl", "parquet"):
            path = tmp_path / f"out.{name}"
            export(Partitions(service.client, "livesegments"), path)
            printed = subprocess.run(
                [sys.executable, "-m", "livesegments.cli", "export", "-", "--format", name],
                env=service.full_environment(),
                capture_output=True,
                check=True,
            )
            assert printed.stdout == path.read_bytes()
            assert printed.stderr == b"wrote 78 customers to -\n"
        path = tmp_path / "out.jsonl"
        found = {row["customer_id"]: row for row in rows(path)}
        assert set(found) == set(people) - {"c70", "c71"}
        for partition in range(PARTITIONS):
            stored = read_partition(service.client, "livesegments", partition)
            for name, customer in stored.customers.items():
                if name not in found:
                    continue
                row = found[name]
                assert row["segment"] == SEGMENTS[customer.segment]
                assert (row["version"], row["cluster"]) == (customer.version, customer.cluster)
                assert row["purchases"] == 3
                assert row["spend"] == round(3 * round(3.33 + int(name[1:]) * 1.01, 2), 2)
                assert (row["age"], row["location"]) == (customer.age, customer.location)
