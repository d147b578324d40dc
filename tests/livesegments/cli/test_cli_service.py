"""Commands against a running deployment: exit codes that need a broker."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from livesegments.contracts.topics import CHANGES, INPUTS, OUTPUTS, REPLAYS, STATES
from livesegments.operations.topics import partition_counts
from livesegments.rendering.formats import DOUBT
from tests.service import COMMAND, WORKER, Service, profile, purchase, running

pytestmark = pytest.mark.servers


@pytest.fixture
def bare(service: Service) -> Service:
    """A deployment whose topics do not exist."""
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_topics([*INPUTS, *OUTPUTS, REPLAYS])
    return service


def test_a_worker_without_topics_says_which_command_makes_them(bare: Service) -> None:
    done = bare.command("run")
    assert done.returncode == 1
    assert "livesegments topics create" in done.stderr
    assert "Traceback" not in done.stderr
    assert bare.command("topics", "create").returncode == 0


def test_a_command_waits_for_the_topics_that_another_creates(bare: Service) -> None:
    gave_up = bare.command("topics", "wait", "--seconds", "0")
    assert gave_up.returncode == 1
    assert CHANGES in gave_up.stderr
    waiting = subprocess.Popen(
        [*COMMAND, "topics", "wait"], env=bare.full_environment(), stderr=subprocess.PIPE
    )
    try:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith(b"waiting: missing topics: customer-")
        assert bare.command("topics", "create").returncode == 0
        assert waiting.wait(30) == 0
    finally:
        waiting.kill()
        waiting.wait()


def test_more_copies_than_brokers_are_told_in_one_line(bare: Service) -> None:
    done = bare.command("topics", "create", "--replication-factor", "3")
    assert done.returncode == 1
    assert "LIVESEGMENTS_KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_worker_whose_port_is_taken_says_which_setting_to_change(service: Service) -> None:
    done = service.command("run", HTTP_PORT=str(service.redis_server.port))
    assert done.returncode == 1
    assert "LIVESEGMENTS_HTTP_PORT" in done.stderr.splitlines()[-1]


def test_a_worker_leaves_on_ctrl_c_with_0(service: Service) -> None:
    worker = service.start()
    service.wait_for(lambda: "owns partitions" in service.tail(), "the worker has joined")
    worker.send_signal(signal.SIGINT)
    assert worker.wait(30) == 0


def test_a_worker_in_the_background_leaves_on_sigterm_alone(service: Service) -> None:
    worker = service.launch(["sh", "-c", 'trap "" INT; exec "$@"', "sh", *WORKER])
    service.wait_for(lambda: "owns partitions" in service.tail(), "the worker has joined")
    worker.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert "SIGINT" not in service.tail()


def test_ctrl_c_ends_a_subscriber_quietly_with_130(service: Service) -> None:
    example = Path(__file__).parents[3] / "docs" / "schemas" / "examples" / "segment-change.json"
    record = json.loads(example.read_text())
    service.send([(CHANGES, record["key"].encode(), json.dumps(record["value"]).encode())])
    following = subprocess.Popen(
        [*COMMAND, "subscribe", "--from-start"],
        env=service.full_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert following.stdout is not None
    assert following.stdout.readline()
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (130, b"")


def test_an_interrupted_replay_says_how_far_it_came(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "purchases.csv"
    days = range(1, 29)
    rows = "".join(f"c{day},2024-01-{day:02d}T00:00:00Z,5.00\n" for day in days)
    file.write_text(f"customer_id,occurred_at,amount\n{rows}")
    sending = subprocess.Popen(
        [*COMMAND, "replay", str(file), "--speed", "86400"],  # a row per second
        env=service.full_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    service.wait_for(lambda: sum(service.ends().values()) > 1, "some are sent")
    sending.send_signal(signal.SIGINT)
    out, err = sending.communicate(timeout=30)
    found = re.match(r"interrupted: sent (\d+) purchases and 0 profiles", out)
    assert found, out + err
    assert sending.returncode == 130
    assert int(found[1]) == sum(service.ends().values()) < len(days)
    assert "send the file again" in err


def test_a_subscriber_whose_reader_has_left_is_no_failure(service: Service) -> None:
    with running(service):
        service.send(
            purchase(f"c{i}", f"2024-01-{1 + i % 28:02d}T10:00:00Z", 5.0 + i) for i in range(80)
        )
        service.wait_for(service.has_model, "everyone is scored")
        service.wait()
        # A worker that leaves in order has published everything; a killed one leaves it to the
        # next.
        service.leave(service.workers[0])
    shown = service.command("subscribe", "--limit", "3")
    assert len(shown.stdout.splitlines()) == 3
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "subscribe", "--idle-exit", "20"],
        env=service.full_environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert done.returncode == 0
    assert done.stderr.decode().rstrip() in ("", DOUBT)


def test_changes_that_a_backfill_makes_say_so(service: Service, tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text(
        "customer_id,occurred_at,amount\n"
        + "".join(f"late,2024-01-{day:02d}T09:00:00Z,300\n" for day in range(1, 29))
    )
    with running(service):
        service.send(
            purchase(f"c{i}", f"2024-01-{1 + i % 28:02d}T10:00:00Z", 5.0 + i) for i in range(80)
        )
        service.wait_for(service.has_model, "everyone is scored")
        service.wait()
        assert service.command("replay", str(history), "--backfill").returncode == 0
        service.wait()
        service.send([purchase("new", "2024-01-28T11:00:00Z")])
        service.wait()
        service.verified()
    shown = service.command(
        "subscribe", "--changes-only", "--from-start", "--json", "--idle-exit", "5"
    )
    changes = [json.loads(line) for line in shown.stdout.splitlines()]
    origins = {change["customer_id"]: change["origin"] for change in changes}
    assert origins["late"] == "backfill"
    assert origins["new"] == "live"
    assert "backfill" not in {of for name, of in origins.items() if name != "late"}


def test_verify_names_faults_and_missing_topics_in_its_own_words_and_ends_with_1(
    service: Service,
) -> None:
    with running(service):
        service.send([purchase("a", "2024-01-02T10:00:00Z"), profile("a", "2024-01-02T10:00:00Z")])
        service.wait()
    assert service.command("verify").returncode == 0
    key = next(
        key for key in service.client.scan_iter(match="*:customers") if service.client.hlen(key)
    )
    blob = service.client.hget(key, "a")
    assert isinstance(blob, bytes)
    service.client.hset(key, "a", blob[:-1] + bytes([blob[-1] ^ 1]))
    done = service.command("verify")
    assert done.returncode == 1
    assert "1 faults" in done.stdout
    assert "livesegments: " not in done.stderr
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_topics([STATES])
    service.wait_for(lambda: not partition_counts(service.config)[STATES], "the topic is gone")
    missing = service.command("verify")
    assert missing.returncode == 1
    assert f"livesegments: missing topics: {STATES}; create them" in missing.stderr
