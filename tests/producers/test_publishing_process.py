"""The publisher's process: its output, and its behaviour when either side dies."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.structs import ConsumerGroupMetadata

from livesegments.producers import publishing_process
from livesegments.producers.publisher import PublishError
from livesegments.producers.publishing_process import PublishingProcess, serve
from tests.producers.test_publisher import config, member, output, publication, published
from tests.servers import KafkaServer
from tests.service import Service

__all__ = ["config", "member"]
pytestmark = pytest.mark.servers


@pytest.fixture
def publisher(config: dict[str, Any]) -> Iterator[PublishingProcess]:
    with_process = PublishingProcess(config, "elsewhere")
    yield with_process
    with_process.kill()


def child(of: PublishingProcess) -> int:
    assert of._process is not None
    assert of._process.pid is not None
    return of._process.pid


def test_what_was_begun_is_published_once_finished(
    publisher: PublishingProcess,
    config: dict[str, Any],
    member: KafkaConsumer,
) -> None:
    publisher.open()
    before = time.time_ns() // 1_000
    publisher.begin([publication(2, [output("a"), output("b")])], member.group_metadata())
    ended = publisher.finish()
    assert ended is not None
    assert before < ended <= time.time_ns() // 1_000
    assert publisher.finish() is None, "nothing is under way"
    publisher.close()
    assert published(config) == [b"a", b"b"]


def test_many_outputs_go_through_in_order(
    publisher: PublishingProcess,
    config: dict[str, Any],
    member: KafkaConsumer,
) -> None:
    texts = [[f"{p}-{i:05d}" for i in range(n)] for p, n in enumerate((2_001, 0, 1_000))]
    publisher.open()
    publisher.begin(
        [publication(p, map(output, each)) for p, each in enumerate(texts)],
        member.group_metadata(),
    )
    assert publisher.finish()
    assert [value.decode() for value in published(config)] == [*texts[0], *texts[2]]


def test_what_is_refused_is_told_and_the_process_works_again_when_reopened(
    publisher: PublishingProcess,
    config: dict[str, Any],
    member: KafkaConsumer,
) -> None:
    known = member.group_metadata()
    stale = ConsumerGroupMetadata(known.group_id, 0, known.member_id, None)
    publisher.open()
    publisher.begin([publication(0, [output("lost")])], stale)
    with pytest.raises(PublishError, match="transaction failed"):
        publisher.finish()
    publisher.open()
    publisher.begin([publication(0, [output("told")])], known)
    assert publisher.finish()
    assert published(config) == [b"told"]


def test_a_process_that_is_gone_is_told_and_another_takes_its_place(
    publisher: PublishingProcess,
    config: dict[str, Any],
    member: KafkaConsumer,
) -> None:
    publisher.open()
    os.kill(child(publisher), signal.SIGSTOP)
    publisher.begin([publication(0, [output("lost")])], member.group_metadata())
    os.kill(child(publisher), signal.SIGKILL)
    with pytest.raises(PublishError, match="gone"):
        publisher.finish()
    publisher.open()
    publisher.begin([publication(0, [output("told")])], member.group_metadata())
    assert publisher.finish()
    assert published(config) == [b"told"]


def test_an_idle_process_keeps_no_socket_of_each_refused_connection(
    config: dict[str, Any], fresh_kafka: KafkaServer
) -> None:
    publisher = PublishingProcess(config, "elsewhere", serve_with_short_pauses)
    publisher.open()
    files = Path("/proc", str(child(publisher)), "fd")
    before = len(list(files.iterdir()))
    fresh_kafka.kill()
    time.sleep(8)
    assert len(list(files.iterdir())) < before + 3
    publisher.kill()


def serve_with_short_pauses(
    pipe: Connection, config: Mapping[str, Any], transactional_id: str
) -> None:
    publishing_process.IDLE_SECONDS = 0.1
    serve(pipe, config, transactional_id)


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = PublishingProcess({}, "hanging", target=hang)
    hanging.finish()
    monkeypatch.setattr(hanging, "_hang_seconds", 0.5)
    pid = child(hanging)
    with pytest.raises(PublishError, match="hung"):
        hanging.open()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def hang(pipe: Connection, _config: Mapping[str, Any], _transactional_id: str) -> None:
    """Replace the publisher with one that answers nothing after the start."""
    pipe.send((None, 0))
    time.sleep(600)


def test_a_killed_worker_leaves_no_process_behind(service: Service) -> None:
    worker = service.start()
    service.wait_for(lambda: "owns partitions" in service.tail(), "it owns partitions")
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    assert children
    worker.kill()
    worker.wait()
    service.wait_for(lambda: not any(map(is_running, children)), "they end")


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
