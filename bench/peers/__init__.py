"""Other implementations on the same topic, each written as its own documentation recommends.

All keep a purchase count and the spend of 30 tiles of three days per customer, find the nearest of
five centroids, and publish its changes, each with its own delivery guarantee. A contender's output
is checked after it has stopped, so that a broken one cannot look fast.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import redis
from kafka import KafkaAdminClient, KafkaConsumer

from bench.peers.contenders import CONTENDERS, Contender, Place, Truth, environment
from bench.peers.install import InstallError
from bench.peers.reference import Model, Purchases, read
from bench.peers.watch import Course, Use, watch
from bench.report import Table
from bench.throughput import CUSTOMERS, PARTITIONS, consume, produce
from livesegments.contracts.topics import PURCHASES
from tests.servers import KafkaServer, RedisServer, fresh_topics

EVENTS, SECONDS = 300_000, 25.0
STOP_SECONDS = 60.0


def run(
    events: int = EVENTS, seconds: float = SECONDS, contenders: Sequence[Contender] = CONTENDERS
) -> Table:
    """Measure each until it has processed all events, or for a given number of seconds."""
    table = Table(
        f"Peers: a topic of {events:,} events, {CUSTOMERS:,} skewed customers, {PARTITIONS}"
        f" partitions; each for {seconds:g} s or until it is done",
        ("", "of kafka-python alone", "CPU s a million", "MB", "guarantee", "events timed"),
    )
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with (
            KafkaServer(where / "kafka", measured=True) as kafka,
            RedisServer(where / "redis") as store,
        ):
            fresh_topics(kafka.bootstrap, PARTITIONS)
            produce(kafka.bootstrap, events)
            truth = _truth(kafka.bootstrap)
            began = time.process_time()
            alone = events / consume(kafka.bootstrap, events, None)
            cpu = (time.process_time() - began) / events * 1e6
            table.add("kafka-python alone", "1.00", f"{cpu:.1f}", "", "", f"{events:,}")
            for i, contender in enumerate(contenders):
                name = f"peer-{i}"
                offsets = KafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=name)
                place = Place(kafka, store, where / name, name, offsets)
                try:
                    with closing(offsets):
                        course = _course(contender, place, truth, events, seconds)
                except InstallError as error:
                    table.note(f"{contender.name} was not run: {error}")
                    continue
                table.add(
                    contender.name,
                    f"{course.rate / alone:.3f}",
                    f"{course.cpu_a_million:.1f}",
                    f"{course.memory / 1e6:.0f}",
                    contender.guarantee,
                    f"{course.events:,}",
                )
    table.note("from the first offsets committed to the last: starts are left out")
    table.note("CPU and memory of all processes of each, with Redis where its state is there")
    table.note("the result of each was checked against the topic, by change or by count")
    return table


def _truth(bootstrap: str) -> Truth:
    purchases = [Purchases.of(values) for values in read(bootstrap, PURCHASES, PARTITIONS)]
    return Truth(purchases, Model.fit(np.concatenate([each.last() for each in purchases])))


def _course(
    contender: Contender, place: Place, truth: Truth, events: int, seconds: float
) -> Course:
    """Run a contender and record its progress.

    Raises
    ------
    RuntimeError
        If its output is wrong.
    """
    command = contender.command()
    place.folder.mkdir()
    place.store.flush()
    with KafkaAdminClient(bootstrap_servers=place.kafka.bootstrap) as admin:
        wanted = {"num_partitions": PARTITIONS, "replication_factor": 1}
        admin.create_topics({place.name: wanted}, wait_for_metadata=True)
    log = place.folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment(place, truth)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # identifies its processes
        )
    client = redis.Redis.from_url(place.store.url)

    def use() -> Use:
        found = Use.of(process.pid)
        if not contender.in_redis:
            return found
        cpu, memory = client.info("cpu"), client.info("memory")
        spent = cpu["used_cpu_user"] + cpu["used_cpu_sys"]
        return Use(found.cpu + spent, found.memory + memory["used_memory_rss"])

    try:
        samples = watch(
            lambda: sum(contender.committed(place).values()),
            use,
            lambda: process.poll() is None,
            events,
            seconds,
        )
        process.terminate()
        process.wait(STOP_SECONDS)
        wrong = contender.check(place, truth, contender.committed(place))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{contender.name}: {error}\n{log.read_text()[-2_000:]}") from error
    finally:
        client.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if wrong:
        raise RuntimeError(f"{contender.name}: {wrong}")
    return Course.of(samples)
