"""The command with little to report on, and the offsets it starts to read from."""

import time
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition

from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.topics import CHANGES
from tests.service import Service, purchase

pytestmark = pytest.mark.servers


def test_a_log_is_read_from_a_time_on(service: Service) -> None:
    began = int(time.time()) - 60  # old records would be deleted
    producer = KafkaProducer(**service.config)
    for second in (10, 20, 30):
        dated = (began + second) * 1_000
        producer.send(CHANGES, b"{}", key=b"c", partition=0, timestamp_ms=dated)
    producer.flush()
    producer.close()
    tp = TopicPartition(CHANGES, 0)
    with LogReader(service.config) as log:
        since = [log.since(tp, (began + second) * 1_000_000) for second in (-5, 10, 11, 30, 31)]
        before_all = log.since(tp, -5_000_000)
    assert (before_all, since) == (0, [0, 0, 1, 2, 3])


def test_before_there_is_a_model_the_command_says_what_it_waits_for(service: Service) -> None:
    done = service.command("report", "--json")
    assert done.returncode == 1
    assert "no worker has ever run" in done.stderr
    service.start()
    service.send([purchase(f"c{i}", "2024-01-02T10:00:00Z", 5.0 + i) for i in range(10)])
    service.wait_for(lambda: service.folded() == 10, "all is folded")
    done = service.command("report", "--json")
    assert done.returncode == 1
    assert "there is no model yet: the first comes when 50 customers" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_without_a_file_and_without_json_the_command_says_what_to_give(service: Service) -> None:
    done = service.command("report")
    assert done.returncode == 2
    assert "name the page to write" in done.stderr


@pytest.mark.timeout(120)
def test_while_the_store_is_made_anew_report_and_export_say_so_and_leave_the_old_files(
    service: Service, tmp_path: Path
) -> None:
    worker = service.start()
    service.send(
        [purchase(f"c{i}", f"2024-01-{1 + i % 9:02d}T10:00:00Z", 1.0 + i) for i in range(80)]
    )
    service.wait_for(service.has_model, "everyone is scored")
    service.wait()
    service.leave(worker)
    page, table = tmp_path / "page.html", tmp_path / "all.csv"
    commands = (("report", str(page)), ("export", str(table)))
    for command in commands:
        assert service.command(*command).returncode == 0
    before = page.read_bytes(), table.read_bytes()
    progress = "livesegments:{3}:progress"
    service.client.hset(progress, "recovering", 2)
    for command in commands:
        done = service.command(*command)
        assert done.returncode == 1
        assert "a recovery of partition 3 is under way" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    service.client.unlink(*service.client.keys("livesegments:*:progress"))
    done = service.command("report", str(page))
    assert done.returncode == 1
    assert "has nothing in the store" in done.stderr.splitlines()[-1]
    assert (page.read_bytes(), table.read_bytes()) == before
