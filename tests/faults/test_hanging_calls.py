"""Hanging connections and calls that never return: detected, reported and recovered from."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from livesegments.contracts.topics import PURCHASES
from livesegments.monitoring.watchdog import EXIT_CODE
from tests.faults.crashing_worker import crashing
from tests.sending import Feed
from tests.servers import KafkaServer, Proxy, RedisServer, fresh_topics
from tests.service import Event, Service

pytestmark = pytest.mark.servers

SOCKET_SECONDS = 2.0


def test_a_store_that_hangs_is_noticed_told_and_waited_for(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    with Proxy(service.redis_server.port) as proxy:
        service.environment["LIVESEGMENTS_REDIS_URL"] = (
            f"redis://127.0.0.1:{proxy.port}/0?socket_timeout={SOCKET_SECONDS}"
        )
        worker = service.start()
        with Feed(service, make_load) as feed:
            service.wait_for(service.has_model, "the model is known")
            service.wait_for(lambda: not service.missing(), "it is ready")
            for harm in (proxy.stall, proxy.cut):
                harm()
                service.wait_for(lambda: "redis" in service.missing(), "readyz names Redis")
                service.wait_for(lambda: "joined" in service.missing(), "the round has failed")
                proxy.flow()
                service.wait_for(lambda: not service.missing(), "it is ready again")
                feed.go_on(500)
        assert "Timeout reading from" in service.tail(200)
        service.wait()
        assert worker.poll() is None
        service.verified()


def test_a_broker_that_hangs_is_noticed_told_and_waited_for(
    tmp_path: Path, fresh_redis: RedisServer, make_load: Callable[..., list[Event]]
) -> None:
    with Proxy() as proxy:
        advertised = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port}"}
        kafka = KafkaServer(tmp_path / "kafka", advertised)
        proxy.upstream = kafka.port
        with kafka:
            fresh_topics(kafka.bootstrap)
            service = Service(kafka, fresh_redis, tmp_path)
            try:
                worker = service.start()
                with Feed(service, make_load) as feed:
                    service.wait_for(service.has_model, "the model is known")
                    for harm, seconds in ((proxy.stall, 8.0), (proxy.cut, 2.0)):
                        harm()
                        time.sleep(seconds)
                        service.wait_for(lambda: "joined" in service.missing(), "it has noticed")
                        proxy.flow()
                        service.wait_for(lambda: not service.missing(), "it is ready again")
                        feed.go_on(500)
                assert "micro-batch failed" in service.tail(200)
                service.wait()
                assert worker.poll() is None
                service.verified()
            finally:
                service.stop()


def test_a_transaction_of_somebody_else_that_hangs_is_waited_for_in_the_shortest_of_rounds(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    first = service.start()
    service.send(make_load(2_000))
    service.wait()
    service.leave(first)
    # Without offsets the log is read to its very end, past the open transaction.
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_groups(["livesegments"])
    upstream = KafkaProducer(
        **service.config, transactional_id="upstream", transaction_timeout_ms=120_000
    )
    upstream.init_transactions()
    upstream.begin_transaction()
    topic, key, value = next(e for e in make_load(100, first=2_000) if e[0] == PURCHASES)
    upstream.send(topic, key=key, value=value)
    upstream.flush()
    worker = service.start(MAX_POLL_INTERVAL_SECONDS="20")
    service.wait_for(
        lambda: "could not be read past" in service.logs[-1].read_text(), "the worker reports it"
    )
    upstream.commit_transaction()
    upstream.close()
    service.wait()
    assert worker.poll() is None, "the watchdog has not ended it"
    service.verified()


def test_a_call_that_never_comes_back_ends_the_worker_and_another_goes_on(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.send(make_load(4_000))
    hanging = service.launch(crashing("before the commit", 2, "hang"))
    assert hanging.wait(60) == EXIT_CODE
    assert "a round exceeded its budget" in service.tail()
    assert "deadly (crashing_worker.py" in service.tail(), "it says where"
    service.start()
    service.wait()
    service.verified()


def test_a_transaction_that_never_ends_ends_its_process_and_the_worker_goes_on(
    service: Service, make_load: Callable[..., list[Event]], tmp_path: Path
) -> None:
    now = tmp_path / "now"
    worker = service.launch(crashing("offsets sent", 1, "hang", file=now))
    with Feed(service, make_load) as feed:
        service.wait_for(service.has_model, "the model is known")
        now.touch()
        service.wait_for(lambda: "process hung or is gone" in service.tail(100), "it is logged")
        feed.go_on(500)
    service.wait()
    assert worker.poll() is None
    service.verified()
