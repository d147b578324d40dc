"""Producers with different partitioners: CRC-32 of librdkafka, murmur2 of all others."""

import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka.admin import KafkaAdminClient

from livesegments.config.settings import Settings, load
from livesegments.contracts.partitioning import Partitioner, Partitioning
from livesegments.contracts.topics import ERASURES, INPUTS, OUTPUTS, PROFILES, PURCHASES
from livesegments.operations.dead_letters import Selection, letters
from livesegments.operations.dead_letters_replay import Rules, rehearse, replay
from livesegments.operations.doctor import examine
from livesegments.operations.doctor.finding import Finding
from livesegments.operations.rebuild import RebuildError, plan
from tests.servers.kafka_server import QUICK_START, kafka_jars
from tests.service import PARTITIONS, Event, Service, erasure, profile, purchase, running

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SEND = Path(__file__).parents[2] / "producers" / "Send.java"
CUSTOMERS = [f"c{n}" for n in range(40)]
ALL = Selection()


def send_by_librdkafka(service: Service, events: Iterable[Event]) -> None:
    producer = Producer({"bootstrap.servers": service.kafka.bootstrap})
    for topic, key, value in events:
        producer.produce(topic, key=key, value=value)
    assert producer.flush(30) == 0


def send_by_java(service: Service, events: Iterable[Event]) -> None:
    lines = [b"\t".join((topic.encode(), key or b"", value or b"")) for topic, key, value in events]
    command = ["java", *QUICK_START, "-cp", f"{kafka_jars()}/*", str(SEND), service.kafka.bootstrap]
    subprocess.run(command, input=b"\n".join(lines), check=True, timeout=60, capture_output=True)


def purchases() -> list[Event]:
    return [purchase(name, "2024-01-02T10:00:00Z", 10.0 + n) for n, name in enumerate(CUSTOMERS)]


def profiles() -> list[Event]:
    return [profile(name, "2024-01-01T00:00:00Z", age=30) for name in CUSTOMERS]


def erasures(names: Iterable[str]) -> list[Event]:
    return [erasure(name, "2024-01-02T12:00:00Z") for name in names]


def elsewhere(partitioner: Partitioner, other: Partitioner) -> list[str]:
    """Customers that the two put into different partitions."""
    a, b = Partitioning(partitioner, PARTITIONS), Partitioning(other, PARTITIONS)
    return [name for name in CUSTOMERS if a.of_customer(name) != b.of_customer(name)]


def settings(service: Service, partitioner: Partitioner = "murmur2") -> Settings:
    return load(
        kafka_bootstrap_servers=service.kafka.bootstrap,
        redis_url=service.store.url,
        clock="event",
        warmup_customers=50,
        partitioner=partitioner,
    )


def partitioners(service: Service, partitioner: Partitioner = "murmur2") -> dict[str, Finding]:
    findings = examine(settings(service, partitioner))
    return {each.name: each for each in findings if each.name.startswith("partitioner")}


def dead(service: Service) -> Counter[tuple[str, str]]:
    return Counter((each.origin.topic, each.origin.reason) for each in letters(service.config, ALL))


def test_purchases_by_librdkafka_are_dead_letters_until_they_are_sent_again(
    service: Service,
) -> None:
    wrong = elsewhere("crc32", "murmur2")
    assert len(wrong) > len(CUSTOMERS) // 2
    with running(service):
        send_by_java(service, [*profiles(), *erasures(CUSTOMERS[:3])])
        send_by_librdkafka(service, purchases())
        service.wait()
        assert dead(service) == {(PURCHASES, "wrong_partition"): len(wrong)}
        service.verified()
        found = partitioners(service)
        assert found[f"partitioner {PURCHASES}"].status == "fail"
        assert "follows crc32" in found[f"partitioner {PURCHASES}"].detail
        assert found["partitioner"].detail == f"murmur2 in {PROFILES}, {ERASURES}"

        assert rehearse(service.config, ALL, Rules("USD")).sent == {"wrong_partition": len(wrong)}
        assert replay(service.config, ALL, Rules("USD")).sent == {"wrong_partition": len(wrong)}
        service.wait()
        assert dead(service) == {(PURCHASES, "wrong_partition"): len(wrong)}
        service.verified()
        kept = sum(
            service.client.hlen(f"livesegments:{{{p}}}:customers") for p in range(PARTITIONS)
        )
        assert kept == len(CUSTOMERS) - 3
        assert replay(service.config, ALL, Rules("USD")).sent.total() == 0


def test_an_erasure_in_another_partition_is_a_fault_until_it_is_sent_again(
    service: Service,
) -> None:
    wrong = elsewhere("crc32", "murmur2")
    with running(service):
        service.send([*profiles(), *purchases()])
        service.wait()
        send_by_librdkafka(service, erasures(wrong))
        service.wait()
        assert dead(service) == {(ERASURES, "wrong_partition"): len(wrong)}
        report = service.report()
        faults = {check.name: check.faults for check in report.checks if check.faults}
        assert list(faults) == ["erasures"]
        assert len(faults["erasures"]) == len(wrong)
        assert "dead-letters replay --reason wrong_partition" in faults["erasures"][0]

        replay(service.config, Selection(topic=ERASURES), Rules("USD"))
        service.wait()
        service.verified()


def test_with_crc32_everywhere_all_is_clean(service: Service) -> None:
    service.environment["LIVESEGMENTS_PARTITIONER"] = "crc32"
    with running(service):
        send_by_librdkafka(service, [*profiles(), *purchases()])
        service.wait()
        send_by_librdkafka(service, erasures(CUSTOMERS[:10]))
        service.wait()
        assert dead(service) == {}
        service.verified()
        found = partitioners(service, "crc32")
        assert {name: each.status for name, each in found.items()} == {"partitioner": "ok"}
        kept = sum(
            service.client.hlen(f"livesegments:{{{p}}}:customers") for p in range(PARTITIONS)
        )
        assert kept == len(CUSTOMERS) - 10
        service.send(profiles())
        service.wait()
        wrong = elsewhere("crc32", "murmur2")
        assert dead(service) == {(PROFILES, "wrong_partition"): len(wrong)}


def test_a_rebuild_with_the_other_partitioner_is_refused(service: Service) -> None:
    send_by_librdkafka(service, purchases())
    with pytest.raises(
        RebuildError, match="follows crc32, and LIVESEGMENTS_PARTITIONER is murmur2"
    ):
        plan(settings(service))
    assert plan(settings(service, "crc32")).deployment.partitioner == "crc32"


def test_added_partitions_end_workers_and_are_a_fault(service: Service) -> None:
    worker = service.start()
    service.send(purchases())
    service.wait()
    with KafkaAdminClient(**service.config) as admin:
        admin.create_partitions(dict.fromkeys((*INPUTS, *OUTPUTS), PARTITIONS + 2))
    worker.kill()
    worker.wait()
    again = service.start()
    assert again.wait(60) == 1
    assert "Customers are in other partitions now" in service.tail()
    report = service.report()
    faults = {check.name: check.faults for check in report.checks if check.faults}
    assert list(faults) == ["partitions"]
    assert f"has {PARTITIONS + 2} partitions, and had {PARTITIONS}" in faults["partitions"][0]
