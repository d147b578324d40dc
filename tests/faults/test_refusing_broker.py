"""A broker that takes no outputs, or cannot write at all: told, waited for, and nothing is lost."""

import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, KafkaAdminClient

from contracts.topics import CHANGES, DEAD_LETTERS, STATES
from tests.servers import KafkaServer, RedisServer, fresh_topics
from tests.service import Event, Feed, Service

pytestmark = pytest.mark.servers

FILE_BYTES = 400_000


def configure(service: Service, config: Mapping[str, str]) -> None:
    """Set the configuration of the outputs."""
    with KafkaAdminClient(**service.config) as admin:
        admin.alter_configs(
            [ConfigResource("topic", t, dict(config)) for t in (CHANGES, STATES, DEAD_LETTERS)]
        )


def test_outputs_that_are_refused_are_published_once_the_broker_takes_them(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    with Feed(service, make_load) as feed:
        service.wait_for(service.has_model, "the model is known")
        configure(service, {"max.message.bytes": "100"})
        service.wait_for(lambda: "MessageSizeTooLarge" in service.tail(50), "the cause is told")
        feed.go_on(500)
        configure(service, {"max.message.bytes": "2097152"})
        feed.go_on(500)
    service.wait(90)
    assert worker.poll() is None
    service.verified()


def test_a_broker_that_ends_for_want_of_space_is_waited_for(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    with Feed(service, make_load, portion=500) as feed:
        service.wait_for(service.has_model, "the model is known")
        # No file may grow beyond this: to the broker, a disk that is full in the middle of a write.
        resource.prlimit(service.kafka.pid, resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        service.wait_for(lambda: not service.kafka.running, "the broker has given up")
        service.kafka.start()
        feed.go_on(500)
    service.wait(90)
    assert worker.poll() is None
    service.verified()


def test_a_group_that_refuses_a_worker_is_asked_ever_less_often(
    tmp_path: Path, fresh_redis: RedisServer
) -> None:
    with KafkaServer(tmp_path / "kafka", {"group.min.session.timeout.ms": "60000"}) as kafka:
        fresh_topics(kafka.bootstrap)
        service = Service(kafka, fresh_redis, tmp_path)
        worker = service.start()
        try:
            service.wait_for(lambda: "InvalidSessionTimeout" in service.tail(50), "it is told")
            time.sleep(5)
            assert service.tail(10_000).count("round failed") < 10
            worker.terminate()
            assert worker.wait(10) == 0
        finally:
            service.stop()
