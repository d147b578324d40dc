"""A broker that rejects outputs or cannot write: reported and retried, without loss."""

import re
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, KafkaAdminClient

from livesegments.consumers.in_flight import MOST_BYTES
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, STATES
from tests.sending import Feed
from tests.service import PARTITIONS, Event, Service

pytestmark = pytest.mark.servers

FILE_BYTES = 400_000


def configure(
    service: Service,
    config: Mapping[str, str],
    topics: Sequence[str] = (CHANGES, STATES, DEAD_LETTERS),
) -> None:
    """Set the configuration of outputs."""
    with KafkaAdminClient(**service.config) as admin:
        admin.alter_configs([ConfigResource("topic", topic, dict(config)) for topic in topics])


def test_outputs_that_are_refused_are_published_once_the_broker_takes_them(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    with Feed(service, make_load) as feed:
        service.wait_for(service.has_model, "the model is known")
        configure(service, {"max.message.bytes": "100"})
        service.wait_for(lambda: "MessageSizeTooLarge" in service.tail(50), "the cause is logged")
        feed.go_on(500)
        configure(service, {"max.message.bytes": "2097152"})
        feed.go_on(500)
    service.wait(90)
    assert worker.poll() is None
    service.verified()


def failures(service: Service) -> int:
    return service.logs[-1].read_text().count("micro-batch failed")


def outbox_bytes(service: Service) -> int:
    keys = [f"livesegments:{{{partition}}}:outbox" for partition in range(PARTITIONS)]
    return sum(len(entry) for key in keys for entry in service.client.hvals(key))


def memory_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


def test_nothing_is_added_to_an_outbox_that_a_topic_does_not_take(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    with Feed(service, make_load, portion=500) as feed:
        service.wait_for(service.has_model, "the model is known")
        configure(service, {"max.message.bytes": "100"}, [CHANGES])
        service.wait_for(lambda: failures(service) >= 2, "two attempts have failed")
        folded, outbox, memory = service.folded(), outbox_bytes(service), memory_bytes(worker.pid)
        assert outbox
        service.wait_for(lambda: failures(service) >= 7, "more attempts have failed")
        assert service.folded() == folded
        assert outbox_bytes(service) <= outbox < 2 * MOST_BYTES
        assert memory_bytes(worker.pid) < memory + 50_000_000
        configure(service, {"max.message.bytes": "2097152"}, [CHANGES])
        feed.go_on(1_000)
    service.wait(90)
    assert worker.poll() is None
    service.verified()


def test_a_broker_that_ends_for_want_of_space_is_waited_for(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    with Feed(service, make_load, portion=500) as feed:
        service.wait_for(service.has_model, "the model is known")
        # Maximum file size: to the broker, a disk that fills up in the middle of a write.
        resource.prlimit(service.kafka.pid, resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        service.wait_for(lambda: not service.kafka.running, "the broker has given up")
        service.kafka.start()
        feed.go_on(500)
    service.wait(90)
    assert worker.poll() is None
    service.verified()


def test_a_group_that_refuses_a_worker_is_asked_ever_less_often(service: Service) -> None:
    # Longer than the broker's group.max.session.timeout.ms.
    worker = service.start(SESSION_TIMEOUT_SECONDS="900", MAX_POLL_INTERVAL_SECONDS="1000")
    service.wait_for(lambda: "InvalidSessionTimeout" in service.tail(50), "it is logged")
    time.sleep(5)
    assert service.tail(10_000).count("micro-batch failed") < 10
    service.leave(worker)
