"""The programs in examples/, unchanged, on output really published by the service."""

import json
import os
import runpy
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.topics import CHANGES, STATES
from tests.livesegments.contracts.recording import Topics, headers_of, version_of
from tests.servers import KafkaServer
from tests.servers.kafka_server import QUICK_START, kafka_jars

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
JAVA = [
    "java",
    *QUICK_START,
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-cp",
    f"{kafka_jars()}/*",
]


@pytest.fixture
def published(recorded: Topics, fresh_kafka: KafkaServer) -> Topics:
    """The run's output, published again in transactions, one of which was aborted.

    Every tenth record is a duplicate, as after an uncommitted offset, and one has unknown fields
    and an unknown origin.
    """
    producer = KafkaProducer(bootstrap_servers=fresh_kafka.bootstrap, transactional_id="again")
    producer.init_transactions()
    for commits in (False, True):
        producer.begin_transaction()
        for topic in (STATES, CHANGES):
            for i, record in enumerate(recorded[topic]):
                for _ in range(2 if commits and i % 10 == 0 else 1):
                    key = record.key if commits else b"never"
                    producer.send(
                        topic,
                        key=key,
                        value=later_additions(record.value),
                        headers=record.headers,
                        partition=record.partition,
                    )
        producer.flush(30)
        (producer.commit_transaction if commits else producer.abort_transaction)()
    producer.close()
    return recorded


def later_additions(value: bytes | None) -> bytes | None:
    return value and json.dumps(json.loads(value) | {"added": {"later": [1]}}).encode()


@contextmanager
def running(kafka: KafkaServer, *command: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(holds: Callable[[], object], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def lines_until(process: subprocess.Popen[str], is_last: Callable[[str], bool]) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if is_last(lines[-1]):
            return lines
    raise AssertionError("\n".join(lines[-20:]))


def states(published: Topics) -> dict[str, dict[str, Any]]:
    """Return the last state of every customer except erased ones."""
    last: dict[str, ConsumerRecord] = {}
    for record in published[STATES]:
        last[record.key.decode()] = record
    return {name: json.loads(each.value) for name, each in last.items() if each.value}


def segments(published: Topics) -> dict[str, str | None]:
    return {
        customer: state["segment"] and state["segment"]["id"]
        for customer, state in states(published).items()
    }


def test_the_recording_has_what_readers_must_handle(published: Topics) -> None:
    assert any(record.value is None for record in published[STATES])
    wants = {state["consent"]["marketing"] for state in states(published).values()}
    assert wants == {True, False, None}
    versions: dict[bytes, list[int]] = defaultdict(list)
    for record in published[STATES]:
        if record.value:
            versions[record.key].append(json.loads(record.value)["version"])
    assert any(len(set(each)) < len(each) for each in versions.values()), "consent alone changed"


def test_the_lookup_table_has_everyone_who_is_not_erased(
    published: Topics, fresh_kafka: KafkaServer
) -> None:
    command = [sys.executable, str(EXAMPLES / "lookup_table.py")]
    with running(fresh_kafka, *command) as process:
        [line] = lines_until(process, lambda line: "may be written to" in line)
        count, sizes = line.split(" customers; may be written to: ")
        assert int(count) == len(states(published))
        wanted: dict[str, int] = defaultdict(int)
        for state in states(published).values():
            if state["segment"] and state["consent"]["marketing"] is not False:
                wanted[state["segment"]["id"]] += 1
        assert json.loads(sizes) == wanted

        gone = next(iter(segments(published)))
        [last] = [r for r in published[STATES] if r.key == gone.encode()][-1:]
        producer = KafkaProducer(bootstrap_servers=fresh_kafka.bootstrap)
        erasure = [*last.headers, ("livesegments-version", b"%d" % (version_of(last) + 1))]
        for key, value, headers in (
            (last.key, last.value, last.headers),  # seen before
            (last.key, None, erasure),
            (last.key, None, erasure),
            (b"end", last.value, last.headers),
        ):
            producer.send(STATES, key=key, value=value, headers=headers, partition=last.partition)
        producer.close()
        heard = lines_until(process, lambda line: line.startswith("end "))
        assert heard[:-1] == [f"{gone} forgotten"]


def moves(published: Topics) -> dict[str, str]:
    """Return ce_id -> move of each that a campaign may act on."""
    found = {}
    for record in published[CHANGES]:
        change = json.loads(record.value)
        left, entered = change["previous_segment"], change["segment"]
        may = change["consent"]["marketing"] is not False and change["origin"] != "backfill"
        if left and entered and may:
            move = f"{change['customer_id']} {left['id']} -> {entered['id']}"
            found[headers_of(record)["ce_id"]] = move
    return found


def erased(published: Topics) -> set[str]:
    return {record.key.decode() for record in published[STATES] if record.value is None}


def refusing(published: Topics) -> set[str]:
    """Return the customers who opted out of marketing at some time."""
    return {
        record.key.decode()
        for record in published[STATES]
        if record.value and json.loads(record.value)["consent"]["marketing"] is False
    }


Heard = tuple[str | None, str]
"""``ce_id`` and move, or None and the customer to forget."""


def hear_campaign(
    process: subprocess.Popen[str], parse: Callable[[str], Heard], published: Topics
) -> None:
    """Read a campaign's output until it is complete, and check it."""
    wanted, gone = moves(published), erased(published)
    uncertain = gone | refusing(published)  # depends on which topic is read first
    awaited: set[Heard] = {(None, customer) for customer in gone}
    awaited |= {(key, move) for key, move in wanted.items() if move.split()[0] not in uncertain}
    heard: list[Heard] = []

    def is_last(line: str) -> bool:
        heard.append(parse(line))
        awaited.discard(heard[-1])
        return not awaited

    lines_until(process, is_last)
    acted = [each for each in heard if each[0] is not None]
    assert len(set(acted)) == len(acted)
    assert dict(acted).items() <= wanted.items()
    assert {customer for key, customer in heard if key is None} == gone


def test_a_campaign_acts_once_on_each_move_of_who_may_be_written_to(
    published: Topics, fresh_kafka: KafkaServer
) -> None:
    def parse(line: str) -> Heard:
        said = json.loads(line)
        if "forget" in said:
            return None, said["forget"]
        return said["key"], f"{said['customer']} {said['from']} -> {said['to']}"

    command = [sys.executable, str(EXAMPLES / "campaign_confluent.py")]
    with running(fresh_kafka, *command) as process:
        hear_campaign(process, parse, published)


def test_a_campaign_in_java_does_the_same(published: Topics, fresh_kafka: KafkaServer) -> None:
    def parse(line: str) -> Heard:
        key, _, what = line.partition(" ")
        return (None if key == "forget" else key), what

    with running(fresh_kafka, *JAVA, str(EXAMPLES / "SegmentSubscriber.java")) as process:
        hear_campaign(process, parse, published)


class Hook(ThreadingHTTPServer):
    """A CRM that is busy at every fiftieth request, and stores each idempotency key once."""

    def __init__(self) -> None:
        self.calls = 0
        self.told: dict[str, dict[str, Any]] = {}
        self.repeats = 0
        self.status = 204
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        hook = self.server
        hook.calls += 1
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if hook.calls % 50 == 0:
            self.send_response(503)
        else:
            key = self.headers["Idempotency-Key"]
            hook.repeats += key in hook.told
            assert hook.told.setdefault(key, document) == document
            self.send_response(hook.status)
        if hook.status in range(300, 400):
            self.send_header("Location", "/moved")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def is_above(told: dict[str, Any], count: float) -> bool:
    return len(told) > count


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_web_hook_is_told_everything_in_order_though_the_forwarder_is_killed(
    published: Topics, fresh_kafka: KafkaServer, hook: Hook
) -> None:
    command = [sys.executable, str(EXAMPLES / "webhook_forwarder.py")]
    wanted = {headers_of(record)["ce_id"] for record in published[STATES]}
    for share in (0.2, 0.5):
        with running(fresh_kafka, *command, WEBHOOK_URL=hook.url) as process:
            enough = share * len(wanted)
            wait_for(partial(is_above, hook.told, enough), "the hook is called")
            process.send_signal(signal.SIGKILL)
    with running(fresh_kafka, *command, WEBHOOK_URL=hook.url):
        wait_for(lambda: hook.told.keys() >= wanted, "the hook has received all")
    assert hook.told.keys() == wanted
    held: dict[str, Any] = {}
    for document in hook.told.values():
        if document["type"] == "customer.segment":
            held[document["customer_id"]] = document["segment"]
        else:
            held.pop(document["customer_id"], None)
    assert held == {
        customer: segment
        for customer, segment in segments(published).items()
        if states(published)[customer]["consent"]["marketing"] is not False
    }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 401, 403, 404])
def test_what_is_wrong_with_every_call_to_a_web_hook_ends_the_forwarder(
    hook: Hook, status: int
) -> None:
    hook.status = status
    call = runpy.run_path(str(EXAMPLES / "webhook_forwarder.py"))["call"]
    with pytest.raises(SystemExit, match=f"refuses every call: .* {status}"):
        call(hook.url, "key", {})
    assert hook.calls == 1


def test_a_record_that_a_web_hook_will_never_take_is_left_out(
    hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    hook.status = 422
    runpy.run_path(str(EXAMPLES / "webhook_forwarder.py"))["call"](hook.url, "key", {})
    assert hook.calls == 1
    assert "key refused: HTTP Error 422" in capsys.readouterr().err


def test_a_table_of_sqlite_is_right_though_its_writer_is_killed(
    published: Topics, fresh_kafka: KafkaServer, tmp_path: Path
) -> None:
    file = tmp_path / "segments.db"
    command = [sys.executable, str(EXAMPLES / "segments_to_sqlite.py"), str(file)]

    def read(query: str) -> list[Any]:
        try:
            with closing(sqlite3.connect(file)) as database:
                return database.execute(query).fetchall()
        except sqlite3.OperationalError:  # not created yet
            return []

    with running(fresh_kafka, *command) as process:
        wait_for(lambda: read("SELECT * FROM segments LIMIT 1"), "the table has rows")
        process.send_signal(signal.SIGKILL)
    wanted = segments(published)
    with running(fresh_kafka, *command):
        wait_for(
            lambda: dict(read("SELECT customer_id, segment FROM segments")) == wanted,
            "the table has everyone",
        )
    audience = dict(read("SELECT customer_id, segment FROM audience"))
    assert audience == {
        customer: segment
        for customer, segment in wanted.items()
        if segment and states(published)[customer]["consent"]["marketing"] is not False
    }
    # It was away while compaction removed the tombstone of a customer.
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO segments VALUES ('erased', 'retirees', '2024', 1, NULL)")
    last_week = time.time() - 8 * 24 * 3600
    os.utime(file, (last_week, last_week))
    with running(fresh_kafka, *command):
        wait_for(
            lambda: dict(read("SELECT customer_id, segment FROM segments")) == wanted,
            "the table has only those who are left",
        )


def test_examples_are_short() -> None:
    for file in EXAMPLES.iterdir():
        if file.suffix in (".py", ".java"):
            assert len(file.read_text().splitlines()) < 100
