"""``livesegments ingest`` against a real broker: exactly once, and nothing lost."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from urllib.request import urlopen

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from livesegments.contracts.dead_letters import parse
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.topics import DEAD_LETTERS, PROFILES, PURCHASES
from tests.livesegments.ingest import topics
from tests.livesegments.ingest.topics import INGEST, order, write_sources
from tests.service import PARTITIONS, Service

pytestmark = pytest.mark.servers

RATES = {"USD": Decimal("1.0"), "EUR": Decimal("1.25"), "GBP": Decimal("1.5")}


def test_orders_in_any_shape_become_purchases_on_their_customers_partition(
    service: Service, tmp_path: Path
) -> None:
    topics.create(service)
    orders = [order(number) for number in range(500)]
    broken = [
        (b"1", b"{not json"),
        order(9_001, total="a lot"),
        order(9_002, created_at="yesterday"),
        order(9_003, total="-3.00"),
        (b"2", b"\xff\xfe"),
    ]
    topics.send(service, [*orders[:250], *broken, *orders[250:]], headers=[("trace", b"1")])
    ingest = service.launch([*INGEST, str(write_sources(tmp_path))])
    topics.wait(service)

    found = topics.read(service, PURCHASES)
    expected = {
        each["order"]["number"]: RATES[each["currency"]] * Decimal(each["total"])
        for each in (json.loads(value or b"") for _, value in orders)
        if each["status"] == "paid"
    }
    purchases = topics.values(found)
    assert Counter(each["event_id"] for each in purchases) == Counter(expected.keys())
    assert {each["event_id"]: Decimal(each["amount"]) for each in purchases} == expected
    for record in found:
        customer = json.loads(record.value)["customer_id"]
        assert record.key == customer.encode()
        assert record.partition == Partitioning("murmur2", PARTITIONS).of_customer(customer)

    letters = topics.read(service, DEAD_LETTERS)
    origins = [parse(each.headers) for each in letters]
    assert {each.value for each in letters} == {value for _, value in broken}
    assert {each.key for each in letters} == {key for key, _ in broken}
    assert {each.source for each in origins} == {"orders"}
    assert {each.topic for each in origins} == {topics.TOPIC}
    assert all(("trace", b"1") in each.original_headers for each in origins)
    assert sorted(each.reason for each in origins) == [
        *("not_json", "query_failed", "schema_invalid", "schema_invalid", "undecodable"),
    ]
    by_place = {(r.partition, r.offset): r.value for r in topics.read(service, topics.TOPIC)}
    for letter, origin in zip(letters, origins, strict=True):
        assert by_place[origin.partition, origin.offset] == letter.value

    port = json.loads(next(x for x in service.logs[-1].open() if '"port"' in x))["port"]
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        metrics = answer.read().decode()
    assert 'livesegments_ingest_records_total{source="orders"} 505.0' in metrics
    assert f'livesegments_ingest_events_total{{source="orders"}} {float(len(expected))}' in metrics
    assert 'livesegments_ingest_filtered_records_total{source="orders"} 50.0' in metrics
    assert 'ingest_dead_letters_total{reason="query_failed",source="orders"} 1.0' in metrics
    assert 'livesegments_ingest_ready{source="orders"} 1.0' in metrics
    with urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
        assert json.load(answer)["ready"]

    service.leave(ingest)


def test_a_dry_run_shows_what_becomes_of_records_and_sends_nothing(
    service: Service, tmp_path: Path
) -> None:
    topics.create(service)
    topics.send(service, [order(1), order(2, total="x"), order(9)])
    command = ["ingest", str(write_sources(tmp_path)), "--dry-run"]
    done = service.command(*command, check=True)
    assert '"event_id":"o-1"' in done.stdout
    assert "query_failed" in done.stdout
    assert "left out by the query" in done.stdout
    assert topics.read(service, PURCHASES) == []
    assert topics.left(service) == 3

    done = service.command(*command, "--json", check=True)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(len(each["events"]) for each in outcomes) == [0, 0, 1]


@pytest.mark.parametrize("arguments", [["--dry-run"], []])
def test_a_query_over_several_records_is_refused_before_anything_is_sent(
    service: Service, tmp_path: Path, arguments: list[str]
) -> None:
    topics.create(service)
    topics.send(service, [order(number) for number in range(100)])
    sources = write_sources(tmp_path)
    (tmp_path / "orders.sql").write_text(
        "SELECT value->>'$.customer.id' AS customer_id, max(value->>'$.created_at') AS occurred_at,"
        " sum((value->>'$.total')::DECIMAL(18,2)) AS amount FROM source GROUP BY 1"
    )
    done = service.command("ingest", sources, *arguments)
    assert done.returncode == 1
    assert "record by record" in done.stderr
    assert topics.read(service, PURCHASES) == []


def test_profiles_are_written_and_deleted(service: Service, tmp_path: Path) -> None:
    topics.create(service)
    people = [
        (b"1", b'{"id":"a","age":"34","updated":"2026-03-01T00:00:00Z","gone":false}'),
        (b"2", b'{"id":"b","updated":"2026-03-01T00:00:00Z","gone":true}'),
    ]
    topics.send(service, people)
    sources = write_sources(tmp_path, into="profiles")
    (tmp_path / "orders.sql").write_text(
        "SELECT value->>'$.id' AS customer_id, value->>'$.updated' AS updated_at,"
        " value->>'$.age' AS age, (value->>'$.gone')::BOOLEAN AS deleted FROM source"
    )
    service.launch([*INGEST, str(sources)])
    topics.wait(service)
    found = {each.key: each.value for each in topics.read(service, PROFILES)}
    assert found[b"b"] is None
    assert json.loads(found[b"a"]) == {
        "customer_id": "a",
        "updated_at": "2026-03-01T00:00:00Z",
        "age": 34.0,
    }


def test_several_processes_share_the_partitions(service: Service, tmp_path: Path) -> None:
    topics.create(service)
    sources = str(write_sources(tmp_path))
    first, second = (service.launch([*INGEST, sources]) for _ in range(2))
    sent = 0
    for _ in range(5):
        sent += topics.send(service, [order(number) for number in range(sent, sent + 200)])
    topics.wait(service)
    first.terminate()
    sent += topics.send(service, [order(number) for number in range(sent, sent + 200)])
    assert first.wait(30) == 0
    topics.wait(service)
    found = Counter(each["event_id"] for each in topics.values(topics.read(service, PURCHASES)))
    assert found == Counter(f"o-{number}" for number in range(sent) if number % 10 != 9)
    service.leave(second)


def test_of_two_processes_with_one_instance_id_the_younger_ends(
    service: Service, tmp_path: Path
) -> None:
    topics.create(service)
    sources = str(write_sources(tmp_path))
    topics.send(service, [order(number) for number in range(100)])
    first = service.launch([*INGEST, sources], INSTANCE_ID="one")
    topics.wait(service)
    second = service.launch([*INGEST, sources], INSTANCE_ID="one")
    topics.send(service, [order(number) for number in range(100, 200)])
    assert second.wait(60) == 1
    assert "another process with the instance id 'one'" in service.logs[1].read_text()
    topics.wait(service)
    assert first.poll() is None
    assert "failed" not in service.logs[0].read_text()


def test_records_that_are_gone_unread_are_an_error_until_the_loss_is_accepted(
    service: Service, tmp_path: Path
) -> None:
    topics.create(service)
    sources = str(write_sources(tmp_path))
    topics.send(service, [order(number) for number in range(30)])
    ingest = service.launch([*INGEST, sources])
    topics.wait(service)
    service.leave(ingest)
    topics.send(service, [order(number) for number in range(30, 60)])
    admin = KafkaAdminClient(**service.config)
    ends = {(r.partition, r.offset + 1) for r in topics.read(service, topics.TOPIC)}
    last = {TopicPartition(topics.TOPIC, p): max(o for q, o in ends if q == p) for p, _ in ends}
    admin.delete_records(last)
    admin.close()

    done = service.command("ingest", sources)
    assert done.returncode == 1
    assert "records that were not read are gone" in done.stderr
    assert "--accept-loss" in done.stderr

    topics.send(service, [order(number) for number in range(60, 70)])
    service.launch([*INGEST, sources, "--accept-loss"])
    topics.wait(service)
    found = {each["event_id"] for each in topics.values(topics.read(service, PURCHASES))}
    assert found == {f"o-{n}" for n in (*range(30), *range(60, 70)) if n % 10 != 9}


def test_a_source_that_begins_at_the_end_reads_what_comes_while_it_is_away(
    service: Service, tmp_path: Path
) -> None:
    topics.create(service)
    topics.send(service, [order(number) for number in range(30)])
    sources = str(write_sources(tmp_path, start="latest"))
    ingest = service.launch([*INGEST, sources])
    topics.wait(service)
    service.leave(ingest)
    topics.send(service, [order(number) for number in range(30, 60)])
    with KafkaAdminClient(**service.config) as admin:
        admin.create_partitions({topics.TOPIC: topics.PARTITIONS + 1})
    topics.send(service, [order(number) for number in range(60, 90)], partition=topics.PARTITIONS)
    service.launch([*INGEST, sources])
    topics.wait(service)
    found = {each["event_id"] for each in topics.values(topics.read(service, PURCHASES))}
    assert found == {f"o-{number}" for number in range(30, 90) if number % 10 != 9}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"topic": PURCHASES}, "source 'orders' reads purchases.v1 and writes to it"),
        ({"topic": "no.such"}, "source 'orders': topic no.such does not exist"),
        ({"query": "SELECT 1 AS amount FROM source"}, "source 'orders': the query does not return"),
    ],
)
def test_what_cannot_work_ends_at_start_with_the_reason(
    service: Service, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    topics.create(service)
    sources = str(write_sources(tmp_path, **changed))
    done = service.command("ingest", sources)
    assert done.returncode == 1
    assert said in done.stderr
