"""A peer with wrong output is detected, and its resource use is counted in full."""

import json
import math
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from bench.peers import run
from bench.peers.contenders import CONTENDERS, Contender, changes_are_exact, in_group
from bench.peers.reference import Model, Purchases, expected
from bench.peers.watch import Course, Sample, Use, watch

TWO = Model(np.ones(2), np.array([[0.0, 0.0], [math.log1p(3), math.log1p(30)]]))
"""No purchases, or three for 30 in total."""


def purchase(customer: str, amount: float) -> bytes:
    return json.dumps({"customer_id": customer, "amount": amount}).encode()


HERS = Purchases.of(
    [purchase("a", 0.01), purchase("b", 30), purchase("a", 29.99), purchase("a", 0.01)]
)


def test_vectors_are_those_after_each_purchase() -> None:
    assert HERS.vectors == pytest.approx(
        np.log1p(np.array([[1, 0.01], [1, 30], [2, 30], [3, 30.01]]))
    )
    assert HERS.last() == pytest.approx(np.log1p(np.array([[3, 30.01], [1, 30]])))


def test_changes_are_those_up_to_the_offsets_reached() -> None:
    first, second, third = ("a", -1, 0), ("b", -1, 1), ("a", 0, 1)
    assert expected([HERS], TWO, {0: 2}) == Counter([first, second])
    assert expected([HERS], TWO, {0: 4}) == Counter([first, second, third])


def test_a_course_begins_with_the_first_offsets_committed() -> None:
    samples = [Sample(10.0, 100, Use(3.0, 70)), Sample(11.0, 200, Use(4.0, 90))]
    samples += [Sample(14.0, 500, Use(5.0, 80))]
    course = Course.of(samples)
    assert course == Course(events=400, seconds=4.0, cpu=2.0, memory=90)
    assert (course.rate, course.cpu_a_million) == (100, 5_000)
    with pytest.raises(ValueError, match="once only"):
        Course.of(samples[:1])


def test_a_peer_is_watched_until_it_is_done() -> None:
    done = iter([0, 0, 40, 40, 100])
    samples = watch(lambda: next(done), lambda: Use(0, 0), lambda: True, 100, seconds=60)
    assert [sample.events for sample in samples] == [40, 100]


def test_a_slow_peer_is_stopped_after_its_time() -> None:
    done = iter(range(1, 1_000))
    samples = watch(lambda: next(done), lambda: Use(0, 0), lambda: True, 10**9, seconds=0.3)
    assert 2 <= len(samples) < 10


def test_a_peer_that_ends_or_does_not_begin_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended before"):
        watch(lambda: 0, lambda: Use(0, 0), lambda: False, 1, 1)
    with pytest.raises(RuntimeError, match="committed nothing"):
        watch(lambda: 0, lambda: Use(0, 0), lambda: True, 1, 1, start_seconds=0)


def test_all_processes_of_a_session_are_counted() -> None:
    burn = (
        "import os, time; os.fork(); x = b'x' * 20_000_000; {}; print(flush=True); time.sleep(60)"
    )
    busy = burn.format("[None for _ in iter(lambda: time.process_time() < 0.2, False)]")
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for _ in range(2):
            process.stdout.readline()
        use = Use.of(process.pid)
        os.killpg(process.pid, 9)
    assert use.cpu > 0.3
    assert use.memory > 40_000_000
    assert Use.of(-1) == Use(0.0, 0)


CHEAT = """
import os, time
from kafka import KafkaConsumer
consumer = KafkaConsumer(os.environ["PEER_INPUT"], bootstrap_servers=os.environ["PEER_BOOTSTRAP"],
                         group_id=os.environ["PEER_GROUP"], auto_offset_reset="earliest")
while True:
    consumer.poll(1_000, max_records=5_000)
    consumer.commit()
    time.sleep(0.5)
"""


@pytest.mark.servers
def test_a_peer_that_only_commits_offsets_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESEGMENTS_MAX_POLL_RECORDS", "500")
    monkeypatch.setenv("LIVESEGMENTS_WARMUP_CUSTOMERS", "50")
    ours = CONTENDERS[0]
    cheat = Contender(
        "cheat", "none", lambda: [sys.executable, "-c", CHEAT], changes_are_exact, in_group
    )
    with pytest.raises(RuntimeError, match=r"cheat: of .* changes [1-9].* are missing, 0 too many"):
        run(events=12_000, seconds=30, contenders=[ours, cheat])
