"""The loop of a source in this process, with a real broker."""

import json
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from livesegments.config.clients import kafka_config
from livesegments.config.settings import Settings
from livesegments.contracts.dead_letters import parse
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.topics import DEAD_LETTERS, PURCHASES
from livesegments.ingest.app import source_consumer
from livesegments.ingest.definitions import Source
from livesegments.ingest.instrumentation import Instrumentation, ingest_metrics
from livesegments.ingest.query import Query
from livesegments.ingest.transform import Transform
from livesegments.ingest.worker import SourceWorker
from livesegments.producers.publisher import Publisher
from tests.livesegments.ingest import topics
from tests.livesegments.ingest.topics import order
from tests.service import PARTITIONS, Service

pytestmark = pytest.mark.servers

SLOW = """
SELECT value->>'$.order.number' AS event_id, value->>'$.customer.id' AS customer_id,
       value->>'$.created_at' AS occurred_at,
       1 + (SELECT count(*) FROM range(1000000000000) WHERE value->>'$.status' = 'slow') AS amount
FROM source
"""


def test_a_record_that_the_query_takes_for_ever_on_is_a_dead_letter_and_the_others_are_sent(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livesegments.ingest.worker.LAG_SECONDS", 0.0)
    topics.create(service)
    sent = [order(number, status="slow" if number == 21 else "paid") for number in range(60)]
    topics.send(service, sent)
    settings = Settings(kafka_bootstrap_servers=service.kafka.bootstrap, _env_file=None)
    source = Source(name="orders", topic=topics.TOPIC, into="purchases", query=SLOW)
    transform = Transform(source, [], None, "USD")
    transform.query = Query(SLOW, "purchases", seconds=0.5)
    consumer = source_consumer(settings, source)
    publisher = Publisher(kafka_config(settings), "slow")
    registry = CollectorRegistry()
    steps: list[int] = []
    behind: list[float] = []

    def look() -> None:
        if worker._in_flight:
            lags = [
                each.samples for each in registry.collect() if each.name.endswith("_lag_records")
            ]
            told = sum(sample.value for samples in lags for sample in samples)
            behind.append(told - len(worker._in_flight[1]))
        if len(steps) % 5 == 0 and not topics.left(service):
            worker.stop()

    worker = SourceWorker(
        consumer=consumer,
        publisher=publisher,
        transform=transform,
        partitioning=Partitioning("murmur2", PARTITIONS),
        max_records=100,
        observed=Instrumentation(ingest_metrics(registry), "orders"),
        alive=lambda: steps.append(1),
    )
    worker.run(look)
    assert min(behind) >= 0
    consumer.close(autocommit=False)
    publisher.close()
    found = Counter(each["event_id"] for each in topics.values(topics.read(service, PURCHASES)))
    assert found == Counter(f"o-{number}" for number in range(60) if number != 21)
    [letter] = topics.read(service, DEAD_LETTERS)
    assert json.loads(letter.value)["order"]["number"] == "o-21"
    assert parse(letter.headers).reason == "query_failed"
