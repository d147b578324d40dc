"""The service as users run it, for tests: real workers in their own processes, and input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.config.segmentation import load
from livesegments.contracts.segments import SegmentChange, SegmentState
from livesegments.contracts.topics import (
    CHANGES,
    ERASURES,
    INPUTS,
    PROFILES,
    PURCHASES,
    STATES,
)
from livesegments.features.segmentation import Segmentation
from livesegments.operations.verify import Report, verify
from livesegments.operations.verify.kafka_log import Log
from livesegments.operations.verify.tolerant_reader import TolerantConsumer
from livesegments.topic_prefix import open_consumer
from tests import processes
from tests.processes import Process
from tests.sending import Sender
from tests.servers import KafkaServer, RedisCluster, RedisSentinels, RedisServer, fresh_topics

PARTITIONS = 4
WAIT_SECONDS = 60.0
FIT_SECONDS = 3.0
MARKERS = 20
"""Maximum number of offsets at the end of an input that hold no record."""
COMMAND = [sys.executable, "-m", "livesegments.cli"]
WORKER = [*COMMAND, "run"]

Event = tuple[str, bytes | None, bytes | None]
"""Topic, key and value."""


def purchase(
    customer: str, occurred_at: str, amount: float = 10.0, *, event_id: str = "", **more: Any
) -> Event:
    """Return a purchase as produced to its topic."""
    value = {
        "event_id": event_id or f"{customer}-{occurred_at}-{amount}",
        "customer_id": customer,
        "occurred_at": occurred_at,
        "kind": "purchase",
        "amount": amount,
        "currency": "USD",
        **more,
    }
    return PURCHASES, customer.encode(), json.dumps(value).encode()


def profile(customer: str, updated_at: str, **known: Any) -> Event:
    """Return a profile as produced to its topic."""
    value = {"customer_id": customer, "updated_at": updated_at, **known}
    return PROFILES, customer.encode(), json.dumps(value).encode()


def erasure(customer: str, requested_at: str, action: str = "erase") -> Event:
    """Return an erasure request as produced to its topic."""
    value = {
        "request_id": f"{customer}-{requested_at}-{action}",
        "customer_id": customer,
        "requested_at": requested_at,
        "action": action,
    }
    return ERASURES, customer.encode(), json.dumps(value).encode()


class RawName(str):
    """A header name that kafka-python sends as the given bytes."""

    def __new__(cls, raw: bytes) -> "RawName":
        name = super().__new__(cls, "raw")
        name.raw = raw
        return name

    raw: bytes

    def encode(self, *_: object) -> bytes:
        return self.raw


class Service:
    """Workers of one deployment on the tests' Kafka and Redis.

    Parameters
    ----------
    kafka, store
        Running, with empty topics and keys.
    folder
        Folder of the workers' logs.
    settings
        Settings in addition to the tests' defaults, without the prefix.
    """

    def __init__(
        self,
        kafka: KafkaServer,
        store: RedisServer | RedisCluster | RedisSentinels,
        folder: Path,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.kafka, self.store, self.folder = kafka, store, folder
        self.environment = {
            "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "LIVESEGMENTS_REDIS_URL": store.url,
            "LIVESEGMENTS_CLOCK": "event",
            "LIVESEGMENTS_HTTP_PORT": "0",
            "LIVESEGMENTS_LOG_FORMAT": "json",
            "LIVESEGMENTS_WARMUP_CUSTOMERS": "50",
            "LIVESEGMENTS_SESSION_TIMEOUT_SECONDS": "3",
            **{f"LIVESEGMENTS_{name}": value for name, value in (settings or {}).items()},
        }
        self.retention_days = 400
        self.workers: list[Process] = []
        self.logs: list[Path] = []
        self.client = store.client()
        self.group = self.environment.get("LIVESEGMENTS_GROUP_ID", "livesegments")
        prefix = self.environment.get("LIVESEGMENTS_TOPIC_PREFIX")
        self.config = {
            "bootstrap_servers": kafka.bootstrap,
            **({"topic_prefix": prefix} if prefix else {}),
        }
        self.now_us: Callable[[], int] = lambda: time.time_ns() // 1_000
        """The clock that the verifier is given."""

    @property
    def redis_server(self) -> RedisServer:
        """The single server of the store."""
        assert isinstance(self.store, RedisServer)
        return self.store

    @property
    def redis_cluster(self) -> RedisCluster:
        """The Redis Cluster of the store."""
        assert isinstance(self.store, RedisCluster)
        return self.store

    @property
    def redis_sentinels(self) -> RedisSentinels:
        """The sentinels and servers of the store."""
        assert isinstance(self.store, RedisSentinels)
        return self.store

    @property
    def segmentation(self) -> Segmentation:
        """The segmentation: ``LIVESEGMENTS_SEGMENTATION`` of the test run, or the default."""
        return load(self.full_environment().get("LIVESEGMENTS_SEGMENTATION", "personas"))

    def keep_for(self, days: int) -> None:
        """Set the retention period after a customer's last purchase, in days."""
        self.retention_days = days
        self.environment["LIVESEGMENTS_RETENTION_DAYS"] = str(days)

    def full_environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of a command of this deployment."""
        more = {f"LIVESEGMENTS_{name}": value for name, value in settings.items()}
        return {**os.environ, **self.environment, **more}

    def start(self, *arguments: str, **settings: str) -> Process:
        """Start one more worker."""
        return self.launch([*WORKER, *arguments], **settings)

    def launch(self, command: Sequence[str], **settings: str) -> Process:
        """Start a process of this deployment."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as out:
            # Its own group, with the publisher's process.
            worker = processes.start(command, self.full_environment(**settings), out)
        self.workers.append(worker)
        self.logs.append(log)
        return worker

    def command(
        self, *arguments: str | Path, check: bool = False, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of this deployment to its end."""
        command = [*COMMAND, *arguments]
        return processes.run(command, env=self.full_environment(**settings), check=check)

    def records(self, topic: str) -> list[ConsumerRecord]:
        """Return the committed records of a topic, one partition after another."""
        log = Log(self.config)
        try:
            return [record for p in range(PARTITIONS) for record in log.read(topic, p)]
        finally:
            log.close()

    def states(self) -> dict[str, SegmentState | None]:
        """Return the last state of each customer, as after compaction."""
        return {
            each.key.decode(): SegmentState.model_validate_json(each.value) if each.value else None
            for each in self.records(STATES)
        }

    def changes(self) -> list[SegmentChange]:
        """Return the changes, one partition after another."""
        return [SegmentChange.model_validate_json(each.value) for each in self.records(CHANGES)]

    def leave(self, worker: Process) -> None:
        """Let a worker end in order."""
        worker.terminate()
        assert worker.wait(30) == 0, self.tail()

    def send(self, events: Iterable[Event]) -> int:
        """Produce events to their topics and wait for acknowledgement; return their number."""
        return Sender(self.config).send(events)

    def ends(self) -> dict[TopicPartition, int]:
        """Return the end of every input partition, without trailing transaction markers."""
        tps = [TopicPartition(topic, p) for topic in INPUTS for p in range(PARTITIONS)]
        consumer = open_consumer(TolerantConsumer, **self.config, isolation_level="read_committed")
        consumer.assign(tps)
        starts, ends = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
        found = {tp: max(starts[tp], ends[tp] - MARKERS) for tp in tps}
        for tp, start in found.items():
            consumer.seek(tp, start)
        while any(consumer.position(tp) < ends[tp] for tp in tps):
            for tp, records in consumer.poll(200).items():
                found[tp] = records[-1].offset + 1
        consumer.close()
        return found

    def committed(self) -> dict[TopicPartition, int]:
        """Return the group's committed offsets, 0 where there are none."""
        consumer = open_consumer(
            KafkaConsumer, **self.config, group_id=self.group, enable_auto_commit=False
        )
        tps = [TopicPartition(topic, p) for topic in INPUTS for p in range(PARTITIONS)]
        offsets = {tp: consumer.committed(tp) or 0 for tp in tps}
        consumer.close(autocommit=False)
        return offsets

    def wait(self, seconds: float = WAIT_SECONDS) -> None:
        """Wait until all input is processed, all output published, and no sweep is due.

        Also for the first fit, if there are customers enough and it comes soon.
        """
        ends = self.ends()
        deadline = time.monotonic() + seconds
        settled = None
        while True:
            if self._settled(ends):
                settled = settled or time.monotonic()
                if time.monotonic() > settled + FIT_SECONDS or not self._may_be_fitted():
                    return
            if time.monotonic() > deadline:
                raise AssertionError(f"not caught up in {seconds} s:\n{self.tail()}")
            time.sleep(0.25)

    def _settled(self, ends: Mapping[TopicPartition, int]) -> bool:
        proposed, swept = 0, []
        for partition in range(PARTITIONS):
            try:
                progress = self.client.hgetall(f"{self.group}:{{{partition}}}:progress")
            except redis.RedisError:
                return False
            number = numbers(progress)
            if not number or number["recovering"] or number["rescore"]:
                return False
            for topic, name in zip(INPUTS, ("purchases", "profiles", "erasures"), strict=True):
                if number[name] < ends[TopicPartition(topic, partition)]:
                    return False
            if number["swept_generation"] < number["generation"]:
                return False
            proposed = max(proposed, number["proposed_generation"])
            swept.append(number["swept_generation"])
        if min(swept) < proposed:
            return False
        committed = self.committed()
        return all(committed[tp] >= end for tp, end in ends.items())

    def _may_be_fitted(self) -> bool:
        keys = [f"{self.group}:{{{partition}}}" for partition in range(PARTITIONS)]
        proposed = (self.client.hget(f"{key}:progress", "proposed_generation") for key in keys)
        if any(int(each or 0) for each in proposed):
            return False
        customers = sum(self.client.hlen(f"{key}:customers") for key in keys)
        return customers >= int(self.environment["LIVESEGMENTS_WARMUP_CUSTOMERS"])

    def has_model(self) -> bool:
        """Return whether every partition has been scored under a generation."""
        keys = [f"{self.group}:{{{partition}}}:progress" for partition in range(PARTITIONS)]
        return all(int(self.client.hget(key, "swept_generation") or 0) for key in keys)

    def wait_for(self, holds: "Any", what: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {seconds} s:\n{self.tail()}")
            time.sleep(0.05)

    def folded(self) -> int:
        """Return the number of processed input records, according to the store."""
        total = 0
        for partition in range(PARTITIONS):
            key = f"{self.group}:{{{partition}}}:progress"
            found = self.client.hmget(key, "purchases", "profiles", "erasures")
            total += sum(int(each or 0) for each in found)
        return total

    def report(self) -> Report:
        """Run the verifier on the deployment and return its report."""
        deadline = time.monotonic() + 20
        while True:
            report = verify(
                self.client,
                self.config,
                self.group,
                retention_days=self.retention_days,
                event_clock=self.environment["LIVESEGMENTS_CLOCK"] == "event",
                patience_seconds=10,
                now_us=self.now_us,
            )
            if not report.faults or time.monotonic() > deadline:
                return report
            time.sleep(1)  # commits that are not published yet are no fault

    def verified(self) -> Report:
        """Run the verifier; fail on any fault."""
        report = self.report()
        assert not report.faults, "\n".join([*report.lines(), self.tail()])
        return report

    def missing(self, worker: int = -1) -> list[str]:
        """Return the missing items in a worker's ``/readyz``, by default of the latest worker."""
        found = re.search(r'"port": (\d+)', self.logs[worker].read_text())
        if found is None:
            return ["everything"]
        try:
            with urlopen(f"http://127.0.0.1:{found[1]}/readyz", timeout=5) as answer:
                return list(json.load(answer)["missing"])
        except HTTPError as error:
            with error:
                return list(json.load(error)["missing"])

    def tail(self, lines: int = 25) -> str:
        """Return the end of the logs of the latest workers."""
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-lines:])
            for log in self.logs[-6:]
        )

    def stop(self) -> None:
        """Stop all workers, in any state."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.kill()  # it may not have a group yet
            worker.wait()
        self.client.close()


def empty_servers(kafka: KafkaServer, redis_server: RedisServer) -> None:
    """Start the servers of the whole run if they are down; make the topics and the store empty."""
    for server in (kafka, redis_server):
        if not server.running:
            server.start()
        server.resume()
    fresh_topics(kafka.bootstrap)
    redis_server.flush()


@contextmanager
def running(service: Service, workers: int = 1) -> Iterator[Service]:
    """Run a service with some workers; stop it whatever happens."""
    try:
        for _ in range(workers):
            service.start()
        yield service
    finally:
        service.stop()


def numbers(progress: Mapping[Any, Any]) -> dict[str, int]:
    """Return the numbers of a stored checkpoint."""
    text = (b"nonce", b"seen", b"topics")
    return {name.decode(): int(value) for name, value in progress.items() if name not in text}
