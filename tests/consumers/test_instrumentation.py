"""Classification of outages by the failed dependency."""

from collections.abc import Iterator

import pytest
from kafka.errors import (
    CommitFailedError,
    KafkaConnectionError,
    KafkaTimeoutError,
    ProducerFencedError,
)
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisConnectionError

from livesegments.consumers.instrumentation import Instrumentation
from livesegments.consumers.log_reader import LogStalledError
from livesegments.consumers.modelling.initial_fit import Sample
from livesegments.consumers.recovery.ownership import Verdict
from livesegments.consumers.recovery.reconciliation import TakeoverRefusedError
from livesegments.consumers.recovery.replay import RecoveryInterruptedError
from livesegments.monitoring.metrics import Metrics
from livesegments.monitoring.series import PREFIX
from livesegments.producers.publisher import PublishError
from tests.segmentations import PERSONAS


class Worker:
    """A working worker and its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.observation = Instrumentation(
            Metrics(self.registry, PERSONAS), 500, PERSONAS, self.draw
        )
        self.observation.ready(True)

    def draw(self) -> Sample:
        raise AssertionError("no sample is requested")

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(PREFIX + name, labels)
        assert found is not None
        return found

    def counted(self) -> Iterator[str]:
        """The visible metrics of an outage."""
        for dependency in ("redis", "kafka"):
            if not self.value("dependency_up", dependency=dependency):
                yield f"{dependency} away"
            if self.value("fences_total", by=dependency):
                yield f"fenced by {dependency}"
        if self.value("transactions_total", outcome="failed"):
            yield "transaction failed"


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (RedisConnectionError(), {"redis away"}),
        (KafkaConnectionError(), {"kafka away"}),
        (PublishError("a record was not acknowledged"), {"transaction failed", "kafka away"}),
        (
            PublishError(f"transaction failed: {KafkaTimeoutError()!r}"),
            {"transaction failed", "kafka away"},
        ),
        (
            PublishError(f"transaction failed: {ProducerFencedError()!r}"),
            {"transaction failed", "fenced by kafka"},
        ),
        (
            PublishError(f"transaction failed: {CommitFailedError()!r}"),
            {"transaction failed", "fenced by kafka"},
        ),
        (TakeoverRefusedError(), {"fenced by redis"}),
        (RecoveryInterruptedError(), {"fenced by redis"}),
        (LogStalledError(), set()),
    ],
)
def test_an_outage_counts_as_what_failed(
    worker: Worker, error: Exception, counted: set[str]
) -> None:
    worker.observation.failed(error)
    assert set(worker.counted()) == counted


def test_what_has_been_taken_over_again_is_there_again(worker: Worker) -> None:
    worker.observation.failed(RedisConnectionError())
    worker.observation.failed(KafkaConnectionError())
    worker.observation.ready(False)
    assert set(worker.counted()) == {"redis away", "kafka away"}
    assert worker.value("worker_ready") == 0
    worker.observation.ready(True)
    assert set(worker.counted()) == set()
    assert worker.value("worker_ready") == 1


def test_servers_that_answer_are_up_before_the_worker_is_ready(worker: Worker) -> None:
    worker.observation.failed(RedisConnectionError())
    worker.observation.failed(KafkaConnectionError())
    worker.observation.ready(False)
    worker.observation.rebalanced()
    assert set(worker.counted()) == {"redis away"}
    with worker.observation.taking_over(Verdict.RECOVER):
        assert set(worker.counted()) == set()


def test_only_a_recovery_counts_as_one(worker: Worker) -> None:
    for verdict, running in ((Verdict.FRESH, 0), (Verdict.CURRENT, 0), (Verdict.RECOVER, 1)):
        with worker.observation.taking_over(verdict):
            assert worker.value("recoveries_running") == running
        assert worker.value("recoveries_running") == 0
        assert worker.value("takeovers_total", verdict=verdict.value) == 1
