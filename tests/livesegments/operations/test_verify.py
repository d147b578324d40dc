"""The verifier finds each kind of fault: everything is broken on purpose, once."""

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.cloudevents import provenance
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, PURCHASES, STATES
from livesegments.operations.verify import Report, verify
from livesegments.operations.verify.kafka_log import Log
from tests.load import load
from tests.service import PARTITIONS, Service, erasure

pytestmark = pytest.mark.servers

PARTITION = 0
KEY = f"livesegments:{{{PARTITION}}}:"

FLAGS, CLUSTER, SEGMENT, UPDATED, INCOME, SINCE, VERSION = 1, 2, 3, 8, 18, 34, 42
VECTOR, PUBLISHED, GAPS, COUNTS, CENTS = 50, 70, 90, 100, 130


@pytest.fixture
def quiet(service: Service) -> Service:
    """A deployment with all kinds of data, and no worker running."""
    worker = service.start()
    events = load(2_500)
    gone = [erasure(f"c{i:04d}", "2024-01-20T00:00:00Z") for i in range(20)]
    service.send([*events, *events[-300:], *gone])
    service.wait()
    service.verified()
    service.leave(worker)
    # From here on only the partition that will be broken is verified: the others stay as they are.
    service.client.hset("livesegments:deployment", "partitions", PARTITION + 1)
    return service


def faults(service: Service) -> dict[str, list[str]]:
    report: Report = verify(
        service.client, service.config, "livesegments", event_clock=True, patience_seconds=3
    )
    return {check.name: check.faults for check in report.checks if check.faults}


def latest_nulls(states: list[ConsumerRecord]) -> list[ConsumerRecord]:
    """Return the latest states of erased customers, all null."""
    return [r for r in {r.key: r for r in states}.values() if r.value is None]


def patched(blob: bytes, at: int, fmt: str, change: Callable[[Any], Any]) -> bytes:
    out = bytearray(blob)
    struct.pack_into(fmt, out, at, change(*struct.unpack_from(fmt, blob, at)))
    return bytes(out)


def test_every_wrong_byte_in_the_store_is_reported(quiet: Service) -> None:
    store: Any = quiet.client
    customers = store.hgetall(KEY + "customers")
    name, blob = next(
        (n, b)
        for n, b in sorted(customers.items())
        if struct.unpack_from("<bb", b, CLUSTER) > (-1, -1) and any(b[COUNTS : COUNTS + 30])
    )
    slot = next(i for i, count in enumerate(blob[COUNTS : COUNTS + 30]) if count)
    (statistic,) = [key for key in store.hkeys(KEY + "statistics") if key != b"swept"]
    counted = store.hget(KEY + "statistics", statistic)
    marker = store.hkeys(KEY + "erasures")[0]
    clock_us = int(store.hget(KEY + "progress", "clock_us"))
    place = int(store.hget(KEY + "progress", "remembered")) - 1

    def record(at: int, fmt: str, change: Callable[[Any], Any]) -> Callable[[], object]:
        return lambda: store.hset(KEY + "customers", name, patched(blob, at, fmt, change))

    def progress(**fields: object) -> Callable[[], object]:
        return lambda: store.hset(KEY + "progress", mapping=fields)

    breaks: dict[str, tuple[Callable[[], object], set[str]]] = {
        "a purchase counted twice": (record(COUNTS + slot, "<B", lambda n: n + 1), {"records"}),
        "a purchase lost": (record(COUNTS + slot, "<B", lambda n: n - 1), {"records"}),
        "spend off by a cent": (record(CENTS + 4 * slot, "<i", lambda n: n + 1), {"records"}),
        "a profile of before": (record(INCOME, "<d", lambda x: x + 1), {"records"}),
        "another consent to profiling": (record(FLAGS, "<B", lambda b: b ^ 1 << 4), {"records"}),
        "a profile of another time": (record(UPDATED, "<q", lambda t: t - 1), {"records"}),
        "a record lost": (
            lambda: store.hdel(KEY + "customers", name),
            {"records", "counted", "statistics", "state"},
        ),
        "an unknown customer": (
            lambda: store.hset(KEY + "customers", "nobody", blob),
            {"records"},
        ),
        "a contribution that is another": (
            record(VECTOR, "<i", lambda x: x + 99),
            {"counted", "statistics"},
        ),
        "a place that they never had": (record(PUBLISHED, "<i", lambda x: x + 99), {"places"}),
        "a place forgotten": (record(GAPS, "<e", lambda _: math.nan), {"places"}),
        "another cluster": (record(CLUSTER, "<b", lambda k: (k + 1) % 5), {"statistics"}),
        "another segment": (record(SEGMENT, "<b", lambda k: (k + 1) % 5), {"state"}),
        "another version": (record(VERSION, "<q", lambda v: v - 1), {"state"}),
        "a segment since another time": (record(SINCE, "<q", lambda t: t + 1), {"since"}),
        "an event forgotten": (
            lambda: store.setrange(KEY + "seen", 8 * place, b"\0" * 8),
            {"repeats"},
        ),
        "an event remembered in another place": (progress(remembered=place), {"repeats"}),
        "a clock behind the purchases": (progress(clock_us=clock_us - 1), {"clock"}),
        "a clock ahead of the purchases": (progress(clock_us=clock_us + 1), {"clock"}),
        "statistics off by one": (
            lambda: store.hset(
                KEY + "statistics", statistic, patched(counted, 0, "<q", lambda n: n + 1)
            ),
            {"statistics"},
        ),
        "statistics lost": (lambda: store.hdel(KEY + "statistics", statistic), {"statistics"}),
        "a recovery under way": (progress(recovering=1), {"quiet"}),
        "a scoring due": (progress(rescore=1), {"quiet"}),
        "an output not published": (
            lambda: store.hset(KEY + "outbox", 10**9, b""),
            {"quiet", "outbox"},
        ),
        "an offset too far back": (progress(purchases=10), {"offsets", "records"}),
        "an offset beyond the log": (progress(purchases=10**6), {"offsets"}),
        "an erasure forgotten": (lambda: store.hdel(KEY + "erasures", marker), {"erasures"}),
        "duplicates that count": (
            lambda: store.hset("livesegments:deployment", "dedup_events", 0),
            {"records"},
        ),
    }
    names = ("customers", "progress", "statistics", "outbox", "erasures", "seen")
    keys = [KEY + each for each in names]
    keys.append("livesegments:deployment")
    for what, (broken, wanted) in breaks.items():
        before = {key: store.dump(key) for key in keys}
        broken()
        found = faults(quiet)
        assert wanted <= set(found), f"{what}: reported {found}"
        for key, dump in before.items():
            store.delete(key)
            if dump is not None:
                store.restore(key, 0, dump)
    store.hset("livesegments:deployment", "partitions", PARTITIONS)
    assert faults(quiet) == {}


def test_every_wrong_record_on_the_topics_is_reported(quiet: Service) -> None:
    log = Log(quiet.config)
    changes, states = log.read(CHANGES, PARTITION), log.read(STATES, PARTITION)
    letters = log.read(DEAD_LETTERS, PARTITION)
    log.close()
    last = changes[-1]
    state = next(r for r in reversed(states) if r.key == last.key)
    erased = latest_nulls(states)[0]
    producer = KafkaProducer(**quiet.config)

    def put(topic: str, like: Any, **other: Any) -> None:
        record = {"key": like.key, "value": like.value, "headers": list(like.headers), **other}
        producer.send(topic, partition=PARTITION, **record).get(10)

    document = json.loads(last.value)
    others = [s for s in ("families", "students") if s != (document["segment"] or {}).get("id")]
    elsewhere = {"id": others[0], "name": others[0]}
    wrong = json.dumps({**document, "previous_segment": elsewhere, "change": "reassigned"})
    first = {"topic": PURCHASES, "partition": PARTITION, "offset": 0, "event_id": "another"}
    uncaused = json.dumps({**document, "customer_id": "nobody", "cause": first})
    steps: dict[str, tuple[Callable[[], None], str, str]] = {
        "a change told twice": (lambda: put(CHANGES, last), "chain", "previous segment"),
        "an id given twice": (lambda: put(STATES, state), "ids", "2 times"),
        "a change that skips one": (
            lambda: put(CHANGES, last, value=wrong.encode(), headers=provenance("0" * 16, 1)),
            "chain",
            "version",
        ),
        "a cause that belongs to another customer": (
            lambda: put(CHANGES, last, value=uncaused.encode(), headers=provenance("0" * 16, 1)),
            "causes",
            "no event of theirs",
        ),
        "a state that is another": (
            lambda: put(
                STATES,
                state,
                value=json.dumps({**json.loads(state.value), "segment": elsewhere}).encode(),
            ),
            "state",
            "but the state is",
        ),
        "a state of someone erased": (
            lambda: put(STATES, erased, value=state.value),
            "erasures",
            "was erased and has a state",
        ),
        "a dead letter told twice": (
            lambda: put(DEAD_LETTERS, letters[-1]),
            "dead letters",
            "dead-lettered 2 times",
        ),
        "a dead letter with other headers": (
            lambda: put(DEAD_LETTERS, letters[0], headers=[("x", b"1"), *letters[0].headers]),
            "dead letters",
            "its headers are not",
        ),
        "a dead letter with other bytes": (
            lambda: put(DEAD_LETTERS, letters[0], value=b"other"),
            "dead letters",
            "its bytes are not",
        ),
    }
    for what, (broken, check, words) in steps.items():
        broken()
        found = faults(quiet)
        assert any(words in fault for fault in found.get(check, [])), f"{what}: reported {found}"
    producer.close()

    done = quiet.command("verify", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["faults"] == sum(len(check["faults"]) for check in told["checks"])
