"""Apache Kafka itself as a child process: one node, KRaft, on free loopback ports.

The broker's jars come from Maven Central (``kafka/pom.xml``) once and are kept in ``.cache`` at the
top of the repository, so that later runs need no network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    InvalidReplicationFactorError,
    KafkaError,
)

from livesegments.contracts.topics import topics
from livesegments.local_servers import LOOPBACK, ServerError, accepts_connections, free_ports
from tests.servers.maven import jars
from tests.servers.process import ServerProcess, SingleServer

KAFKA_VERSION = "4.1.1"

QUICK_START = ("-XX:TieredStopAtLevel=1",)
"""Faster compilation instead of faster code: a broker that lives for seconds starts sooner."""
MEASURED: tuple[str, ...] = ()
"""Options of a broker that is measured."""

MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30

_POM = Path(__file__).parent / "kafka" / "pom.xml"
_UNFENCE_TIMEOUT = 10.0
_JVM = ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto")
_LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)
_CLASSES = f"kafka-{KAFKA_VERSION}.jsa"

_FORMATTED: dict[tuple[str, ...], Mapping[str, bytes]] = {}
"""Options of the formatting -> files that it made."""

_PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # A single node has no other node to replicate to.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A few internal partitions instead of fifty each: faster starts and joins.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "auto.create.topics.enable": "false",
    # Faults must be detected within a test's timeout.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.max.session.timeout.ms": "600000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    # After a kill the next start must not wait for the dead broker's session.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "1000",
    # A check would delete records that a test has dated years back.
    "log.retention.check.interval.ms": "86400000",
    # An idle broker costs little: no record every half second that only shows that it lives.
    "metadata.max.idle.interval.ms": "0",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.recovery.threads.per.data.dir": "2",
}


class KafkaServer(SingleServer):
    """A single Kafka broker that keeps its data and its port over restarts.

    Parameters
    ----------
    directory
        Folder of its settings and log; created when missing.
    data
        Folder of its data, which it creates; by default in ``directory``.
    overrides
        Broker settings that override those above.
    measured
        Whether Java takes its time to compile well, as in production.
    java_options
        More options for Java, instead of the archive of classes.
    listeners
        More listeners, by security protocol, such as ``SASL_SSL``; the first is always PLAINTEXT.
    format_options
        More options for the program that formats the storage.
    """

    _start_timeout = 60.0

    def __init__(
        self,
        directory: Path,
        overrides: Mapping[str, str] | None = None,
        *,
        data: Path | None = None,
        measured: bool = False,
        java_options: Sequence[str] = (),
        listeners: Sequence[str] = (),
        format_options: Sequence[str] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._settings = directory / "server.properties"
        self._data = data or directory / "data"
        java = ["java", *_JVM, *_LOGGING, *(MEASURED if measured else QUICK_START)]
        classes = ["-cp", f"{kafka_jars()}/*"]
        self._tool = [*java, *_class_data(), *classes]
        self._format_options = format_options
        self.port, controller_port, *more_ports = free_ports(2 + len(listeners))
        self.ports = {"PLAINTEXT": self.port, **dict(zip(listeners, more_ports, strict=True))}
        """Port of each way in."""
        advertised = ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in self.ports.items())
        protocols = ",".join(f"{name}:{name}" for name in self.ports)
        properties = {
            **_PROPERTIES,
            "log.dirs": str(self._data),
            "listeners": f"{advertised},CONTROLLER://{LOOPBACK}:{controller_port}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
            **(overrides or {}),
        }
        self._settings.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        self._process = ServerProcess(
            "Apache Kafka",
            [*java, *(java_options or _class_data()), *classes, "kafka.Kafka", str(self._settings)],
            directory / "kafka.log",
        )

    @property
    def bootstrap(self) -> str:
        """Bootstrap server, ``host:port``."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start the broker and wait until it serves requests."""
        if not self._data.exists():
            self._format()
        super().start()

    def __exit__(self, *_: object) -> None:
        self.kill()  # its data is not needed any more

    def _format(self) -> None:
        """Format the storage; like an earlier one of this process, which saves a start of Java."""
        formatted = _FORMATTED.get(tuple(self._format_options))
        if formatted is None:
            self._run_format()
            formatted = {each.name: each.read_bytes() for each in self._data.iterdir()}
            _FORMATTED[tuple(self._format_options)] = formatted
            return
        self._data.mkdir()
        for name, content in formatted.items():
            (self._data / name).write_bytes(content)

    def _run_format(self) -> None:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [*self._tool, "kafka.tools.StorageTool", "format"]
        # Joined by "=", since an id may begin with "-".
        command += [f"--cluster-id={cluster_id}", "--config", str(self._settings)]
        command += self._format_options
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"cannot format Kafka's storage: {done.stdout}{done.stderr}")

    def _is_ready(self) -> bool:
        if not accepts_connections(self.port):
            return False
        try:
            with _admin(self.bootstrap, timeout_ms=2000) as admin:
                return bool(admin.describe_cluster()["brokers"])
        except KafkaError:
            return False


@contextmanager
def data_folder() -> Iterator[Path]:
    """Make a folder for the data of a broker, in memory if there is room, and delete it later.

    A broker forces to disk each topic that it creates or deletes, which tests do by the hundred.
    """
    for left in MEMORY.glob("livesegments-kafka-*"):
        if not Path("/proc", left.name.split("-")[2]).exists():  # its run was killed
            shutil.rmtree(left, ignore_errors=True)
    room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    room = room and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    with tempfile.TemporaryDirectory(
        prefix=f"livesegments-kafka-{os.getpid()}-",
        dir=MEMORY if room else None,
        ignore_cleanup_errors=True,
    ) as folder:
        yield Path(folder) / "data"


def fresh_topics(bootstrap: str, partitions: int = 4) -> None:
    """Delete every topic and every consumer group, then create Livesegments' topics, empty.

    Clients must be closed or killed first: they would continue with stale metadata.

    Parameters
    ----------
    bootstrap
        Bootstrap server of the broker.
    partitions
        Number of partitions of each topic.
    """
    wanted = {
        topic.name: {
            "num_partitions": partitions,
            "replication_factor": 1,
            "configs": dict(topic.config),
        }
        for topic in topics()
    }
    with _admin(bootstrap) as admin:
        groups = _retried(admin.list_groups)
        if groups:
            _delete_groups(admin, [group["group_id"] for group in groups])
        old = [name for name in admin.list_topics() if not name.startswith("__")]
        if old:
            admin.delete_topics(old)
        _retried(partial(admin.create_topics, wanted))
        # The old topics would satisfy a wait for the names. The broker applies changes in order:
        # when a topic created last is known, so are all before it.
        last = {f"last-{uuid.uuid4()}": {"num_partitions": 1, "replication_factor": 1}}
        admin.create_topics(last, wait_for_metadata=True)


def _delete_groups(admin: KafkaAdminClient, groups: Sequence[str]) -> None:
    """Delete groups, also with members: those that were killed stay until their session ends."""
    for group, described in _retried(partial(admin.describe_groups, groups)).items():
        killed = [MemberToRemove(member["member_id"]) for member in described["members"]]
        admin.remove_group_members(group, killed)
    refused = {
        group: answer
        for group, answer in admin.delete_groups(groups).items()
        if answer not in ("OK", GroupIdNotFoundError.__name__)
    }
    if refused:
        raise ServerError(f"groups cannot be deleted: {refused}")


def _retried(ask: Callable[[], Any]) -> Any:
    """Return the answer of a broker that was just started or paused, and may not be ready.

    It reads its groups first, and is fenced until its next heartbeat.
    """
    deadline = time.monotonic() + _UNFENCE_TIMEOUT
    while True:
        try:
            return ask()
        except (
            CoordinatorLoadInProgressError,
            CoordinatorNotAvailableError,
            InvalidReplicationFactorError,
        ):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def kafka_jars() -> Path:
    """Return the folder with Kafka's jars; fill it from Maven Central the first time."""
    return jars(_POM, f"kafka-libs-{KAFKA_VERSION}", kafka_version=KAFKA_VERSION)


def archive_classes() -> None:
    """Archive the classes that a broker loads, unless they are; brokers then start faster."""
    archive = kafka_jars().with_name(_CLASSES)
    if archive.exists():
        return
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        made = Path(folder) / _CLASSES
        options = [f"-XX:ArchiveClassesAtExit={made}"]
        kafka = KafkaServer(Path(folder) / "kafka", java_options=options)
        kafka.start()
        fresh_topics(kafka.bootstrap)
        kafka._process.stop(120)  # it writes the archive
        made.replace(archive)


def _class_data() -> list[str]:
    """Return the option that makes Java use the archive; it ignores that of another Java."""
    archive = kafka_jars().with_name(_CLASSES)
    return [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []


def _admin(bootstrap: str, timeout_ms: int = 30_000) -> KafkaAdminClient:
    return KafkaAdminClient(
        bootstrap_servers=bootstrap, bootstrap_timeout_ms=timeout_ms, request_timeout_ms=timeout_ms
    )
