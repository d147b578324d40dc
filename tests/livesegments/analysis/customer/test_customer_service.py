"""Queries about single customers against a running deployment with several partitions."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from kafka.admin import KafkaAdminClient

from livesegments.analysis.customer.lookup import look_up
from livesegments.analysis.customer.query import CHUNK, SEARCHED, query_customer, read_history
from livesegments.config.settings import Settings
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.topics import CHANGES
from livesegments.store.partitions import Partitions
from tests.servers import KafkaServer, RedisServer
from tests.service import PARTITIONS, Event, Service, empty_servers, erasure, profile, purchase

pytestmark = pytest.mark.servers

NAMES = ["42", "-1", "Zoë", "Zoe\u0308", "客户 🛒", "a'b\"c", "[bold]x", "\u202eretsim", "x" * 128]
RICH, POOR = {"age": 55, "income": 110_000}, {"age": 21, "income": 9_000}
PEOPLE = [f"p{i:02d}" for i in range(70)]


def shopping(customers: list[str]) -> list[Event]:
    """Purchases of customers who differ in how often and for how much they buy."""
    return [
        purchase(name, f"2024-01-{day:02d}T10:00:00Z", 5.0 + 9 * (i % 8), event_id=f"{i}-{day}")
        for i, name in enumerate(customers)
        for day in range(2, 24, 1 + i % 5)
    ]


@pytest.fixture(scope="module")
def service(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Two workers that have a model, and customers of all kinds."""
    empty_servers(kafka, redis_server)
    # A refit after the last wait would move customers between the reads of a test.
    settings = {"REFIT": "off"}
    made = Service(kafka, redis_server, tmp_path_factory.mktemp("customers"), settings)
    made.start()
    made.start()
    made.send(
        profile(name, "2024-01-01T00:00:00Z", age=20 + i % 60, income=10_000 + 1_500 * (i % 70))
        for i, name in enumerate(PEOPLE)
    )
    made.send(shopping([*PEOPLE, *NAMES, "gone", "barred", "denied"]))
    made.send([profile("denied", "2024-01-05T00:00:00Z", consent={"profiling": False})])
    made.wait_for(made.has_model, "everyone is scored")
    made.send([erasure("gone", "2024-01-28T00:00:00Z")])
    made.send([erasure("barred", "2024-01-28T00:00:00Z", "suppress")])
    for day, extreme in enumerate((RICH, POOR) * 2):
        at = f"2024-02-0{day + 1}T00:00:00Z"
        made.send(profile(name, at, **extreme) for name in ("42", *PEOPLE[:20]))
        made.wait()
    yield made
    made.stop()


def asked(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return service.command("customer", *arguments)


def told(
    service: Service, customer: str, *, newest: int = 10, searched: int = SEARCHED
) -> dict[str, Any]:
    """The command's JSON output, produced in this process."""
    settings = Settings(
        kafka_bootstrap_servers=service.kafka.bootstrap,
        redis_url=service.redis_server.url,
        clock="event",
    )
    return query_customer(settings, customer, newest=newest, searched=searched)


def test_before_the_first_worker_and_before_the_model_it_is_told(
    fresh_kafka: KafkaServer, fresh_redis: RedisServer, tmp_path: Any
) -> None:
    young = Service(fresh_kafka, fresh_redis, tmp_path)
    try:
        done = asked(young, "42")
        assert done.returncode == 1
        assert "start a worker first" in done.stderr
        young.start()
        young.send([purchase("42", "2024-01-02T10:00:00Z", 20.0)])
        young.wait()
        found = told(young, "42")
        assert (found["status"], found["because"]) == ("unassigned", "no_model")
        assert found["window"]["purchases"] == 1
    finally:
        young.stop()


@pytest.mark.parametrize("customer", NAMES)
def test_a_customer_of_any_name_is_found_where_producers_send_them(
    service: Service, customer: str
) -> None:
    found = told(service, customer)
    key = f"livesegments:{{{found['partition']}}}:customers"
    assert service.client.hexists(key, customer)
    assert found["partition"] == Partitioning("murmur2", PARTITIONS).of_customer(customer)
    assert found["customer_id"] == customer
    assert found["status"] == "assigned"
    assert found["history"]["changes"][0]["customer_id"] == customer
    assert found["history"]["changes"][0]["segment"] == found["segment"]
    assert found["history"]["changes"][0]["version"] == found["version"]


def test_the_history_is_the_newest_changes_of_the_log(service: Service) -> None:
    by_customer: dict[str, list[int]] = defaultdict(list)
    for record in service.records(CHANGES):
        by_customer[record.key.decode()].insert(0, json.loads(record.value)["version"])
    customer, versions = max(by_customer.items(), key=lambda each: len(each[1]))
    assert len(versions) >= 2
    whole = told(service, customer)["history"]
    assert [change["version"] for change in whole["changes"]] == versions
    assert whole["whole"]
    newest = told(service, customer, newest=1)["history"]
    assert [change["version"] for change in newest["changes"]] == versions[:1]
    assert not newest["whole"]
    assert told(service, customer, newest=0)["history"] is None


def test_no_more_of_the_log_is_read_than_allowed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = look_up(Partitions(service.client, "livesegments"), "42")
    seen: list[int] = []
    monkeypatch.setattr("livesegments.analysis.customer.query.CHUNK", 3)
    short = read_history(service.config, found, newest=50, searched=6, progress=seen.append)
    assert seen == [3, 6]
    assert (short["searched"], short["whole"]) == (6, False)
    everything = read_history(service.config, found, newest=50)
    assert everything["whole"]
    monkeypatch.setattr("livesegments.analysis.customer.query.CHUNK", CHUNK)
    assert read_history(service.config, found, newest=50) == everything


def test_the_command_tells_people_and_scripts_the_same(service: Service) -> None:
    script = asked(service, "--json", "--history", "1", "--", "-1")
    assert script.returncode == 0, script.stderr
    found = json.loads(script.stdout)
    assert found == told(service, "-1", newest=1)
    people = asked(service, "--", "-1")
    assert people.returncode == 0, people.stderr
    assert f"{found['segment']['name']}, since {found['since'][:10]}" in people.stdout
    assert "Smallest change of each kind" in people.stdout


def test_who_is_not_known_ends_it_with_1_in_one_line(service: Service) -> None:
    done = asked(service, "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "customer 'nobody' is not known" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_can_be_no_id_is_wrong_use(service: Service) -> None:
    done = asked(service, "--", "a\nb")
    assert done.returncode == 2
    assert "1 to 128 characters" in done.stderr


@pytest.mark.parametrize(("customer", "status"), [("gone", "erased"), ("barred", "suppressed")])
def test_of_who_was_erased_only_that_is_told(service: Service, customer: str, status: str) -> None:
    assert told(service, customer) == {"customer_id": customer, "status": status}


def test_who_denied_consent_is_told_so(service: Service) -> None:
    found = told(service, "denied")
    assert (found["status"], found["because"]) == ("unassigned", "consent")
    assert found["consent"] == {"marketing": None, "profiling": False}


def test_who_has_bought_nothing_in_the_window_is_told_so(service: Service) -> None:
    service.send([profile("silent", "2024-03-01T00:00:00Z", age=44)])
    service.wait()
    found = told(service, "silent")
    assert (found["status"], found["because"]) == ("unassigned", "no_purchase")
    assert found["profile"]["age"] == 44


def test_no_group_is_joined(service: Service) -> None:
    told(service, "42")
    with KafkaAdminClient(**service.config) as admin:
        groups = json.dumps(admin.list_groups(), default=str)
    assert groups.count("livesegments") == 1
