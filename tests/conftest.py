"""Fixtures with real servers, and the ``--no-skips`` option of the full run."""

from __future__ import annotations

import fcntl
import gc
import os
import pickle
import signal
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings
from kafka.consumer.fetcher import ConsumerRecord
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling, Scheduling

from livesegments import local_servers
from tests import processes
from tests.servers import KafkaServer, RedisCluster, RedisSentinels, RedisServer, fresh_topics
from tests.servers.kafka_server import data_folder
from tests.service import Service

# The duration of an example says more about the machine than about the code. `make explore` draws
# many more examples; once a day the workflow does.
settings.register_profile("livesegments", deadline=None, max_examples=20)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("livesegments")

# A port that one process has found free is still free for another until the server starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    number, of = os.environ["PYTEST_XDIST_WORKER"][2:], os.environ["PYTEST_XDIST_WORKER_COUNT"]
    local_servers.SERVER_PORTS = local_servers.SERVER_PORTS[int(number) :: int(of)]

SHARED = {
    "/security/": "servers with authentication",
    "ingest/test_exactly_once_service": "schema registry",
    "ingest/test_formats_service": "schema registry",
}
"""Parts of the names of files -> the servers that these files share."""


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Apache Kafka, one for the whole run; topics are left over from earlier tests."""
    folder = tmp_path_factory.mktemp("kafka")
    with data_folder() as data, KafkaServer(folder, data=data) as server:
        yield server


@pytest.fixture
def fresh_kafka(kafka: KafkaServer) -> KafkaServer:
    """Running Apache Kafka with empty Livesegments topics (4 partitions each) and no groups."""
    if not kafka.running:
        kafka.start()
    kafka.resume()
    fresh_topics(kafka.bootstrap)
    return kafka


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Redis, one for the whole run; it persists nothing and holds data of earlier tests."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def fresh_redis(redis_server: RedisServer) -> RedisServer:
    """Running, empty Redis."""
    if not redis_server.running:
        redis_server.start()
    redis_server.resume()
    redis_server.flush()
    return redis_server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A Redis Cluster, one for the whole run; it holds data of earlier tests."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def fresh_cluster(redis_cluster: RedisCluster) -> RedisCluster:
    """A healthy, empty Redis Cluster."""
    redis_cluster.start()
    redis_cluster.flush()
    return redis_cluster


@pytest.fixture(scope="session")
def redis_sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinels]:
    """Redis Sentinel, one for the whole run; its servers hold data of earlier tests."""
    with RedisSentinels(tmp_path_factory.mktemp("sentinels")) as sentinels:
        yield sentinels


@pytest.fixture(scope="session")
def recorded(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, list[ConsumerRecord]]:
    """All records of all topics of a run that produces every kind of message.

    In a parallel run the first process that needs them records them for all.
    """
    from tests.livesegments.contracts.recording import record

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    file = folder / "recorded.pickle"
    with (folder / "recorded.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            for server in (kafka, redis_server):
                if not server.running:
                    server.start()
                server.resume()
            records = record(kafka, redis_server, tmp_path_factory.mktemp("recorded"))
            file.write_bytes(pickle.dumps(records))
    loaded: Mapping[str, list[ConsumerRecord]] = pickle.loads(file.read_bytes())  # noqa: S301
    return loaded


@pytest.fixture
def service(
    fresh_kafka: KafkaServer, fresh_redis: RedisServer, tmp_path: Path
) -> Iterator[Service]:
    """A deployment without workers; those started by a test are stopped after it."""
    service = Service(fresh_kafka, fresh_redis, tmp_path)
    yield service
    service.stop()


@pytest.fixture
def clustered(
    fresh_kafka: KafkaServer, fresh_cluster: RedisCluster, tmp_path: Path
) -> Iterator[Service]:
    """A deployment on a Redis Cluster, without workers."""
    service = Service(fresh_kafka, fresh_cluster, tmp_path)
    yield service
    service.stop()


@pytest.fixture
def watched(
    fresh_kafka: KafkaServer, redis_sentinels: RedisSentinels, tmp_path: Path
) -> Iterator[Service]:
    """A deployment on a master that sentinels watch, without workers."""
    redis_sentinels.start()
    redis_sentinels.flush()
    service = Service(fresh_kafka, redis_sentinels, tmp_path)
    yield service
    service.stop()


def pytest_configure(config: pytest.Config) -> None:
    """Reset ignored signals, and start the parent of the processes of a parallel run.

    Child processes would inherit ignored signals: a shell makes its background jobs ignore Ctrl-C,
    as ``nohup make test &`` does.
    """
    default = {signal.SIGINT: signal.default_int_handler}
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        if signal.getsignal(each) == signal.SIG_IGN:
            signal.signal(each, default.get(each, signal.SIG_DFL))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        processes.start_parent()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector away from the modules and tests, which stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In parallel runs, order the files: the longest first, files with and without servers mixed.

    Tests with servers wait most of their time; tests without compute meanwhile. Short files fill
    the end, when processes would otherwise wait for the last long ones.
    """
    if not hasattr(config, "workerinput"):
        return
    longest: dict[Path, float] = {}
    number: Counter[Path] = Counter(item.path for item in items)
    for item in items:
        longest[item.path] = max(longest.get(item.path, 0.0), _may_take(item))
    waiting = {item.path for item in items if item.get_closest_marker("servers")}
    place: dict[Path, float] = {}
    for files in (waiting, longest.keys() - waiting):
        ordered = sorted(files, key=lambda file: (-longest[file], -number[file], file))
        place.update((file, i / len(ordered)) for i, file in enumerate(ordered))
    items.sort(key=lambda item: (place[item.path], item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """With ``--dist loadfile``, run files that share expensive servers in one process."""
    return _ByServers(config, log) if config.getoption("dist") == "loadfile" else None


class _ByServers(LoadFileScheduling):  # type: ignore[misc] # xdist ships no types
    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((servers for part, servers in SHARED.items() if part in file), file)


def _may_take(item: pytest.Item) -> float:
    """Return the timeout of a test in seconds; for tests without servers only an explicit one."""
    marker = item.get_closest_marker("timeout")
    if marker is not None:
        return float(marker.args[0])
    return float(item.config.getini("timeout")) if item.get_closest_marker("servers") else 0.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--no-skips``, for runs that must prove that everything was tested."""
    parser.addoption(
        "--no-skips", action="store_true", help="count a skipped or xfailed test as failed"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip or an expected failure into a failure under ``--no-skips``."""
    report = yield
    _refuse_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into an error under ``--no-skips``."""
    report = yield
    _refuse_skip(collector.config, report)
    return report


def _refuse_skip(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"not run, under --no-skips: {report.longrepr}"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
