"""`livesegments rebuild`: the store rebuilt from Kafka, by running workers or by the command."""

import json
from dataclasses import replace
from typing import NoReturn

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError
from pydantic import SecretStr

from livesegments.config.settings import Settings
from livesegments.contracts.topics import PURCHASES
from livesegments.operations import rebuild
from livesegments.operations.verify import verify
from tests.load import load
from tests.service import Service, purchase

pytestmark = pytest.mark.servers


@pytest.fixture
def worked(service: Service) -> Service:
    """A deployment that has segmented some customers, and whose worker has left."""
    service.send(load(3_000))
    worker = service.start()
    service.wait()
    service.leave(worker)
    return service


def test_without_workers_the_command_makes_the_store_anew_once_told_yes(worked: Service) -> None:
    before = {name: worked.client.hlen(name) for name in worked.client.keys("*:customers")}
    asked = worked.command("rebuild")
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert worked.client.hlen("livesegments:{2}:customers")
    done = worked.command("rebuild", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["complete"]
    assert told["customers"] == sum(before.values())
    assert {name: worked.client.hlen(name) for name in worked.client.keys("*:customers")} == before
    worked.verified()


def test_running_workers_make_it_anew(service: Service) -> None:
    service.start()
    service.send(load(3_000))
    service.wait()
    done = service.command("rebuild", "--yes")
    assert done.returncode == 0, done.stderr
    assert "1 running workers will rebuild them" in done.stderr
    service.send(load(500, first=3_000))
    service.wait()
    service.verified()


def test_it_gives_the_store_another_window(worked: Service) -> None:
    worked.environment["LIVESEGMENTS_WINDOW_DAYS"] = "30"
    refused = worked.start()
    assert refused.wait(60) == 1
    assert "livesegments rebuild" in worked.tail()
    done = worked.command("rebuild", "--yes")
    assert done.returncode == 0, done.stderr
    assert "changes window_days from 90 to 30" in done.stderr
    worked.start()
    worked.send(load(500, first=3_000))
    worked.wait()
    worked.verified()


def test_it_gives_the_store_another_currency_and_verify_knows_what_was_refused_before(
    service: Service,
) -> None:
    # The event clock of euros is behind that of dollars: customers' changes are dated after it.
    at, later = "2024-01-03T00:00:00Z", "2024-01-05T00:00:00Z"
    euros = [purchase(f"c{i:04d}", at, i, currency="EUR", event_id=f"eur{i}") for i in range(100)]
    service.send([*load(1_000), *euros])
    worker = service.start()
    service.wait_for(service.has_model, "the customers are assigned")
    service.wait()
    service.leave(worker)
    service.environment["LIVESEGMENTS_CURRENCY"] = "EUR"
    assert service.command("rebuild", "--yes").returncode == 0
    worker = service.start()
    service.send([purchase("c0", later, currency=code, event_id=code) for code in ("EUR", "USD")])
    service.wait()
    service.verified()
    service.leave(worker)  # its next commit would write the field again
    # The store records the end of the replay: only records rejected after it need dead letters.
    for key in service.client.keys("*:progress"):
        service.client.hset(key, "replayed", 0)
    report = verify(service.client, service.config, "livesegments")
    assert {check.name for check in report.checks if check.faults} == {"dead letters"}


def test_other_settings_than_running_workers_have_are_refused(service: Service) -> None:
    worker = service.start()
    service.send(load(1_000))
    service.wait()
    done = service.command("rebuild", "--yes", TILES="45")
    assert done.returncode == 1
    assert "tiles differ from the 1 running workers': stop them first" in done.stderr
    assert service.start(CLOCK="wall").wait(60) == 1
    assert "clock is wall here and event in the store" in service.tail()
    service.verified()
    service.leave(worker)
    worker = service.start(CLOCK="wall")
    service.wait_for(lambda: not service.missing(), "history is over")
    service.leave(worker)
    assert service.start().wait(60) == 1
    assert "clock is event here and wall in the store" in service.tail()


@pytest.mark.parametrize("below", [300, -1], ids=["in part", "wholly gone"])
def test_a_log_that_is_shorter_than_the_window_is_refused_before_anything_is_touched(
    worked: Service, below: int
) -> None:
    with KafkaAdminClient(**worked.config) as admin:
        admin.delete_records({TopicPartition(PURCHASES, 2): below})
    done = worked.command("rebuild", "--yes")
    assert done.returncode == 1
    assert "--accept-loss" in done.stderr
    assert worked.client.hlen("livesegments:{2}:customers")
    assert worked.command("rebuild", "--yes", "--accept-loss").returncode == 0


@pytest.fixture
def settings(service: Service) -> Settings:
    return Settings(
        kafka_bootstrap_servers=service.kafka.bootstrap,
        redis_url=SecretStr(service.store.url),
        group_id="never-there",
    )


def test_a_loss_is_not_accepted_for_running_workers_that_would_end_of_it(service: Service) -> None:
    worker = service.start()
    service.send(load(1_000))
    service.wait()
    before = service.client.hlen("livesegments:{2}:customers")
    done = service.command("rebuild", "--yes", "--accept-loss")
    assert done.returncode == 1
    assert "stop the 1 running workers first" in done.stderr
    assert service.client.hlen("livesegments:{2}:customers") == before
    assert worker.poll() is None


def test_a_kafka_that_has_never_had_a_group_has_no_workers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: object) -> NoReturn:
        raise CoordinatorNotAvailableError

    monkeypatch.setattr(KafkaAdminClient, "describe_groups", unavailable)
    assert rebuild.plan(settings).workers == 0


def test_the_workers_that_were_to_do_it_are_missed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "DESERTED_SECONDS", 1.0)
    planned = replace(rebuild.plan(settings), workers=1)
    with pytest.raises(rebuild.DesertedError, match="start a worker"):
        rebuild.rebuild(settings, planned)
